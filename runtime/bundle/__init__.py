"""The signed bundle: its archive, manifest, signature and keys."""
