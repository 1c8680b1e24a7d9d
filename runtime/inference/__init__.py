"""From pixels to predictions: preprocessing, int8 back ends, output heads."""
