"""Which anchors learn which object, and what their errors cost: assigners, class, box and mask losses."""
