"""What a review looks at: a bundle's manifest and members, its models as runners, and images with their truth.

A bundle holds no float model. In a build it is at hand. Beside a finished bundle, `vedette build` writes it as
NAME.float.onnx, and the signed manifest holds its digest (`measured.sha256_fp32`); without that file, or with another
one, no check can compare float with int8.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import Manifest
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.annotated_object import AnnotatedObject

from ..evaluation.model_runners import ModelRunner

MAX_SIDE = 1024  # pixels; larger images are scaled down first, as by a camera of that resolution


class ReviewImages(msgspec.Struct, frozen=True):
    """Images with what is known of them; one of `labels` and `objects` may be given."""

    paths: Sequence[Path] = ()
    labels: Sequence[int] | None = None
    """Anomaly model: 0 for good and 1 for defective images. Classifier: index of the class."""
    objects: Sequence[tuple[AnnotatedObject, ...]] | None = None
    """Object detector: annotated objects."""

    def sample(self, count: int, doubled: int | None = None) -> ReviewImages:
        """At most `count` images, the same for equal images.

        Each label has as many, where there are enough of it; the label `doubled` has twice as many.
        """
        order: list[int] = []
        by_label: dict[int, list[int]] = {}
        for index, label in enumerate(self.labels or [0] * len(self.paths)):
            by_label.setdefault(label, []).append(index)
        rng = np.random.default_rng(0)
        queues = []
        for label in sorted(by_label):
            queue = list(rng.permutation(by_label[label]))
            queues += [queue, queue] if label == doubled else [queue]
        while len(order) < count and any(queues):
            order += [int(queue.pop(0)) for queue in queues if queue]
        kept = sorted(order[:count])
        return ReviewImages(
            [self.paths[index] for index in kept],
            None if self.labels is None else [self.labels[index] for index in kept],
            None if self.objects is None else [self.objects[index] for index in kept],
        )

    def read(self) -> list[NDArray[Any]]:
        """The pixels of each image, H x W x 3, uint8, blue-green-red, at most MAX_SIDE pixels wide and high."""
        return [_limit_side(image_files.read_image(path)) for path in self.paths]


class Effort(msgspec.Struct, frozen=True):
    """How many images and queries a review uses: its time is proportional to them."""

    robustness_images: int
    trigger_images: int
    attacked_images: int
    queries: int
    """Of the attack, for each image."""


BUILD_EFFORT = Effort(robustness_images=18, trigger_images=8, attacked_images=3, queries=50)
COMMAND_EFFORT = Effort(robustness_images=48, trigger_images=16, attacked_images=6, queries=120)


class Subject(msgspec.Struct, frozen=True):
    """Everything that the checks of a review read."""

    manifest: Manifest
    members: dict[str, bytes]
    int8: ModelRunner
    float: ModelRunner | None
    """None: it is not at hand."""
    images: ReviewImages
    device: DeviceProfile | None = None
    """None: nothing is known of the device that the manifest names."""
    effort: Effort = COMMAND_EFFORT


def _limit_side(image: NDArray[Any]) -> NDArray[Any]:
    side = max(image.shape[:2])
    if side <= MAX_SIDE:
        return image
    size = tuple(max(1, round(each * MAX_SIDE / side)) for each in image.shape[1::-1])
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA))
