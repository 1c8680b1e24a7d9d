"""Inference: preprocessing, int8 back ends, output heads."""
