"""Known families of object detectors: their outputs, and the settings they were trained with.

The settings are those of each family's published code and weights. The goal file overrides them with `mean`, `std` and
`order` for a network that was trained otherwise.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from vedette.runtime.bundle.box_decoding import GridDecoding

from ...goal.goal_tables import BoxesTable

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
    grid: GridDecoding | None = None
    """How a cell's numbers become a box, unless the runtime has a decoder of this name."""


_IMAGENET_BGR = (103.53, 116.28, 123.675), (57.375, 57.12, 58.395)
_IMAGENET_RGB = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
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
    # `nanodet/model/head/nanodet_plus_head.py` of RangiLyu/nanodet: the point is the corner of a cell.
    "nanodet-plus": DetectorFamily(
        ("class", "box"), {"box": 32}, "bgr", *_IMAGENET_BGR, "stretch", 0.6, ("class", "box"),
        GridDecoding("distribution", point=0.0, strides=(8, 16, 32, 64)),
    ),
    # `ppdet/modeling/heads/pico_head.py` of PaddlePaddle/PaddleDetection.
    "picodet": DetectorFamily(
        ("class", "box"), {"box": 32}, "rgb", *_IMAGENET_RGB, "stretch", 0.6, ("class", "box"),
        GridDecoding("distribution", strides=(8, 16, 32, 64)),
    ),
    # `mmdet/models/dense_heads/rtmdet_head.py` of open-mmlab/mmdetection: tiny and small, which take no exponential.
    "rtmdet": DetectorFamily(
        ("class", "box"), {"box": 4}, "bgr", *_IMAGENET_BGR, "letterbox", 0.65, (),
        GridDecoding("distances", unit="pixels", point=0.0, strides=(8, 16, 32)),
    ),
}  # fmt: skip


def find_family(name: str, boxes: BoxesTable | None) -> DetectorFamily:
    """The family of a goal file; `boxes` describes it if it is `generic`."""
    if boxes is None:
        return DETECTOR_FAMILIES[name]
    channels = {"box": 4 * boxes.bins if boxes.form == "distribution" else 4}
    if "objectness" in boxes.outputs:
        channels["objectness"] = 1
    point = boxes.point if boxes.point is not None else 0.0 if boxes.form == "center" else 0.5
    objectness = "objectness" in boxes.outputs
    grid = GridDecoding(boxes.form, boxes.unit, point, boxes.activation, objectness, boxes.strides)
    joined = boxes.outputs if boxes.joined else ()
    return DetectorFamily(boxes.outputs, channels, "rgb", 0.0, 255.0, boxes.resize, boxes.iou, joined, grid)
