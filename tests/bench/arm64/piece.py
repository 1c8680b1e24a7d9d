"""What a piece of a detector is grown of (pieces.py): operators that detectors have and our own networks have not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from graphs import Network

ENLARGED = {"nearest": ("asymmetric", "floor"), "linear": ("half_pixel", "round_prefer_floor")}


class Piece(Network):
    """A network that grows by what detectors have."""

    def stem(self, channels: int, kernel: int = 3) -> None:
        """At half the size."""
        self.convolution(channels, kernel, 2)

    def even(self, outputs: int, kernel: int, stride: int = 1, depthwise: bool = False) -> None:
        """A convolution whose padding is alike on all sides, as PyTorch has it."""
        self.convolution(outputs, kernel, stride, depthwise)
        pads = next(each for each in self.nodes[-1].attribute if each.name == "pads")
        pads.ints[:] = [kernel // 2] * 4

    def gate(self) -> None:
        """What it has come to, times the sigmoid of it."""
        before = self.x
        self.operator("Sigmoid", [before], self.shape)
        self.operator("Mul", [before, self.x], self.shape)

    def leaky(self) -> None:
        self.operator("LeakyRelu", [self.x], self.shape, alpha=0.1)

    def rectify(self) -> None:
        self.operator("Relu", [self.x], self.shape)

    def curve(self, kind: str = "Sigmoid") -> None:
        self.operator(kind, [self.x], self.shape)

    def attended(self) -> None:
        """Two branches, one of which weighs the other."""
        before, channels = self.x, self.shape[0]
        self.convolution(channels, 1)
        self.curve()
        self.operator("Mul", [before, self.x], self.shape)

    def pool(self, size: int, stride: int = 1) -> None:
        channels, height, width = self.shape
        form = {"kernel_shape": [size, size], "strides": [stride, stride], "pads": [size // 2] * 4}
        self.operator("MaxPool", [self.x], (channels, height // stride, width // stride), **form)

    def pyramid(self, *sizes: int) -> None:
        """Pools of several sizes, side by side."""
        before, (channels, height, width) = self.x, self.shape
        parts = [before]
        for size in sizes:
            self.x = before
            self.pool(size)
            parts.append(self.x)
        self.operator("Concat", parts, (len(parts) * channels, height, width), axis=1)

    def halves(self, bend: Bend) -> None:
        """Divided, one half worked on, and joined again."""
        channels, height, width = self.shape
        half = (channels // 2, height, width)
        first, second = self._split(half)
        self._other(first, second, half, bend)

    def dealt(self, bend: Bend) -> None:
        """A channel shuffle that takes every second channel."""
        channels, height, width = self.shape
        half = (channels // 2, height, width)
        shape = self.constant([1, channels // 2, 2, height, width], np.int64)
        whole = self.operator("Reshape", [self.x, shape], self.shape)
        first, second = (self.operator("Gather", [whole, self.constant(n, np.int64)], half, axis=2) for n in (0, 1))
        self._other(first, second, half, bend)

    def picked(self, *numbers: int) -> None:
        """Some channels, each taken alone where channels are the last axis."""
        _, height, width = self.shape
        last = self.operator("Transpose", [self.x], self.shape, perm=[0, 2, 3, 1])
        shape, parts = self.constant([1, 1, height, width], np.int64), []
        for number in numbers:
            taken = self.operator("Gather", [last, self.constant(number, np.int64)], self.shape, axis=3)
            parts.append(self.operator("Reshape", [taken, shape], (1, height, width)))
        self.operator("Concat", parts, (len(parts), height, width), axis=1)

    def turned(self, bend: Bend) -> None:
        """A channel shuffle that is a transposition."""
        channels, height, width = self.shape
        half = (channels // 2, height, width)
        apart = self.constant([1, 2, channels // 2, height, width], np.int64)
        self.operator("Reshape", [self.x, apart], self.shape)
        self.operator("Transpose", [self.x], self.shape, perm=[0, 2, 1, 3, 4])
        self.operator("Reshape", [self.x, self.constant([1, channels, height, width], np.int64)], self.shape)
        first, second = self._split(half)
        self._other(first, second, half, bend)

    def _split(self, half: tuple[int, int, int]) -> tuple[str, str]:
        names = [f"split{len(self.nodes)}/{each}" for each in "ab"]
        node = onnx.helper.make_node("Split", [self.x], names, name=names[0], axis=1, num_outputs=2)
        self.nodes.append(node)
        return names[0], names[1]

    def _other(self, first: str, second: str, half: tuple[int, int, int], bend: Bend) -> None:
        self.x, self.shape = second, half
        self.convolution(half[0], 1)
        bend(self)
        self.operator("Concat", [first, self.x], (2 * half[0], *half[1:]), axis=1)

    def enlarged(self, mode: str, factor: int = 2) -> None:
        """A coarser branch, enlarged again, and joined or added; linear by more than 2 stays a Resize."""
        before, (channels, height, width) = self.x, self.shape
        for _ in range(factor // 2):
            self.even(channels, 3, 2, depthwise=True)
        how, near = ENLARGED[mode]
        form = {"mode": mode, "coordinate_transformation_mode": how, "nearest_mode": near}
        scales = self.constant([1.0, 1.0, float(factor), float(factor)])
        self.operator("Resize", [self.x, "", scales], (channels, height, width), **form)
        if mode == "nearest":
            self.operator("Concat", [before, self.x], (2 * channels, height, width), axis=1)
        else:
            self.operator("Add", [before, self.x], (channels, height, width))

    def joint(self, channels: int, bend: Bend) -> None:
        """Two branches at half the size, side by side: what a shuffle follows."""
        before, shape, parts = self.x, self.shape, []
        for _ in range(2):
            self.x, self.shape = before, shape
            self.even(shape[0], 3, 2, depthwise=True)
            self.convolution(channels // 2, 1)
            bend(self)
            parts.append(self.x)
        self.operator("Concat", parts, (channels, *self.shape[1:]), axis=1)

    def outputs(self, *widths: int) -> list[str]:
        """Boxes and classes, each an output of its own."""
        before, shape, ends = self.x, self.shape, []
        for width in widths:
            self.x, self.shape = before, shape
            self.convolution(width, 1)
            ends.append(self.x)
        return ends


Bend = Callable[[Piece], None]
"""What follows a convolution."""
