"""Image embedding: pooled features of EfficientNet-Lite0, pretrained on ImageNet.

The embedding holds the mean and standard deviation of each channel after blocks 4, 10 and 15. They describe edges,
textures and parts, independent of their location. The embedding separates images of different objects well. It
separates images with small local defects only slightly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...models import efficientnet_lite
from ...models.onnx_backbone import OnnxBackbone
from . import suspected_defects

INPUT_SIZE = 224  # pixels, as the weights were trained
BLOCKS = (4, 10, 15)


class ImageFeatures(NamedTuple):
    """Features of N images."""

    embeddings: NDArray[Any]
    """N x 944, float32."""
    cells: Tensor
    """The first two levels by location, N x 152 x 14 x 14, half precision."""


class ImageEmbedder:
    """Batch of N images, INPUT_SIZE x INPUT_SIZE x 3, uint8, RGB -> features. It is thread-safe."""

    def __init__(self) -> None:
        self.backbone = OnnxBackbone(efficientnet_lite.load_backbone(BLOCKS), threads=1)

    def __call__(self, images: Sequence[NDArray[Any]]) -> ImageFeatures:
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).float()
        with torch.inference_mode():
            levels = self.backbone((pixels - efficientnet_lite.MEAN) / efficientnet_lite.STD)
            pooled = [statistic for each in levels for statistic in (each.mean((2, 3)), each.std((2, 3)))]
            cells = suspected_defects.pool_levels(levels[:2])
        return ImageFeatures(torch.cat(pooled, dim=1).numpy(), cells)
