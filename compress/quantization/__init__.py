"""Float ONNX to int8 ONNX: calibration, equalization, bias correction, rounding, quantization-aware training."""
