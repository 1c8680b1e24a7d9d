"""Statistics of good scores: thresholds, p-values, recalibration and drift. They need NumPy only."""
