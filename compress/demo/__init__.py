"""`make demo`: solar cells, from images to events at a local broker."""
