"""Fitting anomaly models, fine-tuning classifiers, pruning and distillation."""
