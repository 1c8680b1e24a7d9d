"""What a model costs on a device: operators counted, instructions and milliseconds predicted or measured."""
