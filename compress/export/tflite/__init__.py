"""Writes a TFLite file from a quantized ONNX graph, with the same integers.

Two quantizers that choose their own ranges differed by up to 48 steps on the same network. Two files with one set of
quantization parameters agree to the step. So this package does not quantize again: every scale, zero point, weight and
bias comes from the ONNX graph, and only the notation changes:

    activations   uint8, zero point z       ->  int8, zero point z - 128
    weights       int8 per output channel   ->  the same values, laid out as output, H, W, input
    features      N x C x H x W             ->  N x H x W x C
    ReLU, ReLU6   folded into the range     ->  the same, no activation function

operators.py holds the table of supported operators and `write_tflite`. The modules below it write one kind of operator
each with the help of writer.py.
"""

from .operators import write_tflite

__all__ = ["write_tflite"]
