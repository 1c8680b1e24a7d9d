"""Reports of a line: the pages of an attribute study and of a shift, and exported counters."""
