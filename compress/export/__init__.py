"""Files that leave the workshop: TFLite models and signed bundles."""
