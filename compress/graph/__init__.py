"""ONNX graphs: export from torch, import of user models, edits, the QDQ view, and graphs as trainable torch modules."""
