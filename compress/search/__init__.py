"""Search over designs: trials, finalists, and the input size of imported object detectors."""
