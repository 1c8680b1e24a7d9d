"""Known families of object detectors: their outputs, and the settings they were trained with.

The settings are those of each family's published code and weights. The goal file overrides them with `mean`, `std` and
`order` for a network that was trained otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

COCO_LABELS = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""Labels of a network with 80 classes, unless the goal file names others."""
COCO_CATEGORY_IDS = [n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
"""COCO category id of each of the 80 labels.

Used for networks with one class channel per id, possibly after a channel for the background.
"""


class DetectorFamily(msgspec.Struct, frozen=True):
    """Outputs, input normalization and default settings of one family."""

    output_roles: tuple[str, ...]
    """Roles of the convolutions of one pyramid level, in the order in which the network's outputs use them."""
    fixed_channels: dict[str, int]
    """Channels of each role whose number does not depend on the number of classes."""
    order: Literal["rgb", "bgr"]
    mean: float | tuple[float, float, float]
    """Mean of pixels from 0 to 255, in channel order `order`, as in the goal file."""
    std: float | tuple[float, float, float]
    """Standard deviation of pixels from 0 to 255, in channel order `order`."""
    resize: Literal["stretch", "letterbox"]
    iou_threshold: float
    """IoU threshold of non-maximum suppression."""
    fused_roles: tuple[str, ...] = ()
    """Roles that a single convolution may compute together, in its channel order."""


_IMAGENET_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
DETECTOR_FAMILIES = {
    "yolox": DetectorFamily(
        ("box", "objectness", "class"), {"box": 4, "objectness": 1}, "bgr", 0.0, 1.0, "letterbox", 0.65
    ),
    "nanodet": DetectorFamily(("class", "box"), {"box": 32}, "bgr", *_IMAGENET_BGR, "letterbox", 0.6, ("class", "box")),
    "fastestdet": DetectorFamily(
        ("objectness", "box", "class"), {"objectness": 1, "box": 4}, "bgr", 0.0, 255.0, "stretch", 0.45
    ),
    "ssd": DetectorFamily(("box", "class"), {}, "rgb", 128.0, 128.0, "stretch", 0.6),
    "yolov8": DetectorFamily(("box", "class"), {"box": 64}, "rgb", 0.0, 255.0, "letterbox", 0.7, ("box", "class")),
}
