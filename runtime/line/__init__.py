"""One inspection per part: a trigger in, a verdict out, in time and in order (docs/line.md)."""
