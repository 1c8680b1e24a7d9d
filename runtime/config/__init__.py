"""The configuration files of a device and its cameras, read and checked once."""
