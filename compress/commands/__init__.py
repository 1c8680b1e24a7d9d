"""The verbs of the workshop, one file each."""
