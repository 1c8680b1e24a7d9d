"""What is known of a family of object detectors before a file is read: what ends it, and how it was trained.

The settings are those of the families' own published code and weights. Who has trained one otherwise says so in the
goal file, where `mean`, `std` and `order` come before what stands here.
"""

from __future__ import annotations

from typing import Literal

import msgspec

COCO = (
    "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light",
    "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant",
    "bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard",
    "sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli",
    "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet",
    "tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink", "refrigerator",
    "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip
"""The labels of a network with 80 classes, unless the goal file names others."""
NUMBERS = [n for n in range(1, 91) if n not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
"""COCO's own number of each, where a network has a channel for every number, and one for the background before them."""


class Family(msgspec.Struct, frozen=True):
    """One of them."""

    roles: tuple[str, ...]
    """What the convolutions of one level give, in the order in which the outputs name them."""
    channels: dict[str, int]
    """Of the roles that have as many whatever the classes are."""
    order: Literal["rgb", "bgr"]
    mean: float | tuple[float, float, float]
    """Of pixels of 0…255, in that order, as in the goal file."""
    std: float | tuple[float, float, float]
    resize: Literal["stretch", "letterbox"]
    iou: float
    """Of non-maximum suppression."""
    joined: tuple[str, ...] = ()
    """Roles that one convolution may give together, in its order of channels."""


_NORMAL = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
FAMILIES = {
    "yolox": Family(("box", "objectness", "class"), {"box": 4, "objectness": 1}, "bgr", 0.0, 1.0, "letterbox", 0.65),
    "nanodet": Family(("class", "box"), {"box": 32}, "bgr", *_NORMAL, "letterbox", 0.6, ("class", "box")),
    "fastestdet": Family(
        ("objectness", "box", "class"), {"objectness": 1, "box": 4}, "bgr", 0.0, 255.0, "stretch", 0.45
    ),
    "ssd": Family(("box", "class"), {}, "rgb", 128.0, 128.0, "stretch", 0.6),
    "yolov8": Family(("box", "class"), {"box": 64}, "rgb", 0.0, 255.0, "letterbox", 0.7, ("box", "class")),
}
