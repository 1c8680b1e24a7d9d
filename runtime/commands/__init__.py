"""The device commands, one module each."""
