"""A converted file on somebody's own images: boxes and masks drawn, and written as COCO results and CSV."""
