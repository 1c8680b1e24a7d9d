"""Export of built models: TFLite files and signed bundles."""
