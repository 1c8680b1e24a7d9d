"""Scales and zero points of activations: how they are chosen, and which tensors share them."""
