"""The verbs of the device, one file each."""
