"""ONNX graphs: exported from torch, imported from users, read as QDQ, run as trainable torch modules."""
