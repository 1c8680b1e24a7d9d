"""Distillation of an object detector to a smaller input: the float detector at its own size teaches a copy of itself.

Pictures are mirrored, scaled and made brighter or darker at random, VARIATIONS of each. The teacher looks at each of
them once, at its own size; the student learns the boxes (teacher_boxes.py) at its size, without labels. All weights are
trained, by Adam, with a learning rate that falls to zero along half a cosine. The loss on held-out pictures is measured
every CHECK_INTERVAL steps. The best weights are kept, and training stops after PATIENCE checks without improvement.
The seed determines the result, unless time runs out.

A gain is not proven: docs/goal.md has the trial with YOLOX-nano. So whoever calls this compares both on labels.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.camera import image_files
from vedette.runtime.inference.preprocess import Preprocess, content_fraction
from vedette.runtime.progress import Progress

from ..data.augmentation import augment_scene
from ..graph.importers.detector_import import ImportedDetector
from ..graph.torch_module import OnnxModule
from ..quantization.qat import BATCH_SIZE, normalize_images, scale_batch_to_pixels
from .box_outputs import BoxOutputs, BoxReader
from .teacher_boxes import TeacherBoxes, find_teacher_boxes, teacher_loss

STEPS, LEARNING_RATE = 120, 1e-5
CHECK_INTERVAL, PATIENCE = 20, 2  # steps, checks
VARIATIONS, MAX_LESSONS = 4, 512  # of each picture; of all pictures
MAX_DETAIL = 1.5  # longer side of a picture before it is varied, as a factor of that of the teacher's input


class DistilledDetector(NamedTuple):
    """A detector after distillation."""

    detector: ImportedDetector
    """The untaught one if nothing was better."""
    steps: int
    """After which the kept weights were reached; 0: untaught."""
    loss_before: float
    """On the held-out pictures."""
    loss: float
    """Of the kept weights, on the held-out pictures."""


class _Lesson(NamedTuple):
    pixels: NDArray[Any]
    """1 x height x width x 3, the student's input."""
    boxes: TeacherBoxes
    """As fractions of the student's input."""


class _Network:
    """A detector in torch."""

    def __init__(self, detector: ImportedDetector) -> None:
        self.detector, self.module = detector, OnnxModule(detector.model)
        self.read = BoxReader(detector.boxes, detector.input_spec)
        self.preprocess = Preprocess(detector.input_spec)

    def __call__(self, pixels: Sequence[NDArray[Any]]) -> BoxOutputs:
        outputs = self.module(normalize_images(pixels, self.detector.input_spec))
        return self.read(dict(zip(self.module.outputs, outputs, strict=True)))

    def fractions(self, picture: NDArray[Any]) -> Tensor:
        """The share of the input that a picture covers, by edge of a box."""
        covered = content_fraction(self.detector.input_spec, picture.shape[:2])
        return torch.tensor(covered * 2, dtype=torch.float32)


def distil(
    teacher: ImportedDetector,
    student: ImportedDetector,
    training: Sequence[Path],
    held_out: Sequence[Path],
    progress: Progress,
    deadline: float = math.inf,
    seed: int = 0,
) -> DistilledDetector:
    """Train `student`, the same detector with another input.

    Args:
        teacher: the detector at its own size
        student: the detector at a smaller size
        training: pictures to learn from
        held_out: pictures that decide which weights are kept
        progress: shows the progress
        deadline: when training stops, on the clock of time.monotonic()
        seed: seed of the variations and of the order

    Raises:
        Problem: the network or its boxes cannot be read in torch
    """
    network, learner = _Network(teacher), _Network(student)
    count = max(1, min(VARIATIONS, MAX_LESSONS // max(len(training), 1)))
    lessons = [
        [_prepare_lesson(network, learner, path, (seed, number, view)) for view in range(count)]
        for number, path in enumerate(progress(training, "lessons"))
    ]
    tests = [_prepare_lesson(network, learner, path, None) for path in held_out]
    trained = list(learner.module.parameters())
    optimizer = torch.optim.Adam(trained, lr=LEARNING_RATE)
    best, kept, checks_without_gain = (first := _measure_loss(learner, tests)), 0, 0
    weights = [parameter.detach().clone() for parameter in trained]
    batch_size = min(scale_batch_to_pixels(BATCH_SIZE, student.input_spec), len(lessons))
    for step in progress(range(STEPS), "distillation"):
        if checks_without_gain >= PATIENCE or time.monotonic() > deadline:
            break
        rng = np.random.default_rng((seed, step))
        batch = [lessons[row][rng.integers(count)] for row in rng.permutation(len(lessons))[:batch_size]]
        for group in optimizer.param_groups:
            group["lr"] = LEARNING_RATE * (1 + math.cos(math.pi * step / STEPS)) / 2
        optimizer.zero_grad()
        loss = teacher_loss(learner([each.pixels for each in batch]), [each.boxes for each in batch])
        loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation
        torch.nn.utils.clip_grad_norm_(trained, 10.0)
        optimizer.step()
        if (step + 1) % CHECK_INTERVAL == 0 or step + 1 == STEPS:
            found = _measure_loss(learner, tests)
            checks_without_gain = 0 if found < best else checks_without_gain + 1
            if found < best:
                best, kept, weights = found, step + 1, [parameter.detach().clone() for parameter in trained]
    if not kept:
        return DistilledDetector(student, 0, first, first)
    with torch.no_grad():
        for parameter, value in zip(trained, weights, strict=True):
            parameter.copy_(value)
    model = learner.module.copy_with_learned_weights(student.model)
    return DistilledDetector(student._replace(model=model), kept, first, best)


@torch.no_grad()
def _measure_loss(learner: _Network, lessons: Sequence[_Lesson]) -> float:
    return sum(float(teacher_loss(learner([each.pixels]), [each.boxes])) for each in lessons) / max(len(lessons), 1)


@torch.no_grad()
def _prepare_lesson(network: _Network, learner: _Network, path: Path, seed: tuple[int, ...] | None) -> _Lesson:
    """A varied picture, and what the teacher finds in it; without a seed the picture as it is."""
    picture, spec = image_files.read_image(path), network.detector.input_spec
    factor = MAX_DETAIL * max(spec.width, spec.height) / max(picture.shape[:2])
    if factor < 1:
        picture = np.asarray(cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
    if seed is not None and seed[-1]:  # the first variation is the picture itself
        picture = augment_scene(picture, np.random.default_rng(seed))
    boxes = find_teacher_boxes(network([network.preprocess(picture)]), network.detector.boxes.iou)
    edges = boxes.edges / network.fractions(picture) * learner.fractions(picture)
    return _Lesson(learner.preprocess(picture), boxes._replace(edges=edges))
