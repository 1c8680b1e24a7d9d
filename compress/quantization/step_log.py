"""What each step of making a network fit for integers gave, and how long it took.

All int8 models of one network are as fast and as large as each other, whatever care was taken with their numbers. So
what a step costs is the time of the build, and what it gives is how near the quantised network then comes to the float
one: at the tensors where it ends, on a few of the calibration images. Those are what the steps look at too, so it tells
what they did and not what it is worth; that, the test images tell.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec
import torch
from torch import Tensor

from ..graph.torch_module import Network
from .integer_simulation import Simulation


class Step(msgspec.Struct, frozen=True):
    """One of them."""

    name: str
    """For people."""
    lost: float
    """Root mean square of the difference to float behind it, as a share of the float tensor's own; the mean of all."""
    seconds: float


class Steps:
    """Those that are done.

    Args:
        ends: names of the tensors that are looked at; empty: the outputs
        images: N x 3 x H x W, normalised
    """

    def __init__(self, ends: Sequence[str], images: Tensor) -> None:
        self.ends, self.images = ends, images
        self.done: list[Step] = []
        self.began = time.monotonic()

    @torch.no_grad()
    def note(self, name: str, exact: Network, simulated: Simulation) -> None:
        """A step has ended; `simulated` is what it left."""
        took = time.monotonic() - self.began
        ends = list(self.ends) or exact.outputs
        pairs = zip(simulated(self.images, ends), exact(self.images, ends), strict=True)
        lost = torch.stack([(made - real).norm() / real.norm().clamp(min=1e-12) for made, real in pairs]).mean()
        self.done.append(Step(name, float(lost), round(took, 1)))
        self.began = time.monotonic()
