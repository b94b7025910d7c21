"""Tables, plots and the report page, made from JSON results alone."""
