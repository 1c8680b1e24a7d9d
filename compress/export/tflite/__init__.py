"""Writes a TFLite file from a quantised ONNX graph, with the same integers.

Two quantisers, each with its own idea of a good range, disagreed by up to 48 steps on the same network; one set of
parameters in two files agrees to the step. So the TFLite file is not quantised again: every scale, zero point, weight
and bias is taken from the ONNX graph, and only the notation changes:

    activations   u8, zero point z         ->  s8, zero point z - 128
    weights       s8 per output channel    ->  the same, laid out H W in out
    features      N C H W                  ->  N H W C
    ReLU, ReLU6   folded into the range    ->  the same, no activation function
"""

from .writer import write

__all__ = ["write"]
