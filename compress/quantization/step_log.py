"""Log of the quantization steps: the error after each step, and its duration.

All int8 models of one network have the same speed and size, whatever techniques produce their weights. The cost of a
step is therefore build time, and its gain is a smaller difference between the quantized and the float network. The log
measures this difference at the end tensors, on a few calibration images. The steps use the same images, so the log
shows the effect of a step but not its benefit on new data; the test images show that.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from ..graph.torch_module import OnnxModule
from .integer_simulation import IntegerSimulation


class QuantizationStep(msgspec.Struct, frozen=True):
    """One quantization step."""

    name: str
    """Name for the report."""
    error: float = msgspec.field(name="lost")
    """Root mean square error relative to the float tensor; mean over all end tensors."""
    seconds: float


class StepLog:
    """Completed quantization steps.

    Args:
        tensors: names of the compared tensors; empty: the model outputs
        images: normalized images, N x 3 x H x W
    """

    def __init__(self, tensors: Sequence[str], images: Tensor) -> None:
        self.tensors, self.images = tensors, images
        self.steps: list[QuantizationStep] = []
        self.step_start = time.monotonic()

    @torch.no_grad()
    def record(self, name: str, float_network: OnnxModule, simulation: IntegerSimulation) -> None:
        """Records the end of a step; `simulation` is the result of the step."""
        duration = time.monotonic() - self.step_start
        tensors = list(self.tensors) or float_network.outputs
        pairs = zip(simulation(self.images, tensors), float_network(self.images, tensors), strict=True)
        error = torch.stack(
            [(output - target).norm() / target.norm().clamp(min=1e-12) for output, target in pairs]
        ).mean()
        self.steps.append(QuantizationStep(name, float(error), round(duration, 1)))
        self.step_start = time.monotonic()
