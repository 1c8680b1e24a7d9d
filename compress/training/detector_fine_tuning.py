"""Fine-tuning of an object detector on new classes, by annotated boxes.

The last layers are trained and the others stay as they are: a few hundred images cannot replace the many thousands
that the network was made from. Images are mirrored, scaled and made brighter or darker at random, each in up to
MAX_VARIATIONS ways; what the fixed layers make of them is computed once. The optimizer is AdamW, with a learning rate
that falls to zero along half a cosine. mAP50 on the validation images is measured before and every few epochs. The best
weights are kept, and training stops after PATIENCE checks without improvement. The seed determines the result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vedette.runtime.camera import image_files
from vedette.runtime.errors import Problem
from vedette.runtime.evaluation.annotated_object import AnnotatedObject, GroundTruth
from vedette.runtime.inference.preprocess import Preprocess, content_fraction
from vedette.runtime.progress import Log, Progress
from vedette.runtime.tracking.assignment import box_array

from ..data.augmentation import SceneVariation
from ..goal.recipe import DetectorTrainingSettings
from ..graph.class_channels import choose_layers
from ..graph.graph_tail import GraphTail
from ..graph.importers.detector_import import ImportedDetector
from ..graph.torch_module import OnnxModule
from ..quantization.qat import normalize_images
from .box_outputs import BoxReader
from .detection_loss import ImageTargets, detection_loss

BATCH_SIZE = 8
CHECKS = 10  # at equal distances; of mAP50 on the validation images
PATIENCE = 4  # checks
STEPS = "classes", "head"  # of layers = "auto"
RATES = {"classes": 1.0, "head": 0.1, "stage": 0.03}  # of the learning rate in the goal file
MIN_VISIBLE = 0.3  # share of a box that must remain in a varied image
FEATURE_BYTES = 512 * 2**20  # of all kept features
MAX_VARIATIONS = 8  # of each image


class AnnotatedImages(NamedTuple):
    """Images to learn from, and what decides when to stop."""

    training: list[Path]
    truth: GroundTruth
    validate: Callable[[ImportedDetector], float]
    """mAP50 of a float detector on the images that decide when to stop."""


class FineTuning(NamedTuple):
    """A detector after training, and how it came about."""

    detector: ImportedDetector
    layers: str
    epochs: int
    """After which the kept weights were reached; 0: those before training were the best."""
    map50: float
    """On the validation images."""


class DetectorTraining(NamedTuple):
    """Training on new classes in steps."""

    steps: list[FineTuning]
    """The state before training, and each step."""
    sources: list[list[int]]
    """For each class, the detector's own classes that it began as."""

    @property
    def best(self) -> FineTuning:
        """The step that is best on the validation images, the earliest of equals."""
        return max(self.steps, key=lambda step: step.map50)


class _TrainingImage(NamedTuple):
    pixels: NDArray[Any]
    """Height x width x 3, the model's input."""
    edges: NDArray[Any]
    """n x 4, as fractions of the input."""
    labels: list[int]
    crowds: list[bool]


def fine_tune_in_steps(
    detector: ImportedDetector,
    images: AnnotatedImages,
    settings: DetectorTrainingSettings,
    progress: Progress,
    log: Log,
) -> list[FineTuning]:
    """The state before training, and the result of each step.

    `layers = "auto"` trains the class channels first and then, from the better of the two, the whole head.
    """
    steps = [FineTuning(detector, "none", 0, images.validate(detector))]
    for layers in () if not settings.epochs else STEPS if settings.layers == "auto" else (settings.layers,):
        begin = max(steps, key=lambda step: step.map50)
        try:
            steps.append(fine_tune(begin, images, settings, layers, progress))
        except Problem as problem:
            if len(steps) == 1:  # nothing can be trained as it was asked
                raise
            log(f"{layers} is not trained: {problem.message}")
            continue
        log(f"trained {layers}: mAP50 {begin.map50:.3f} to {steps[-1].map50:.3f} on the images that end training")
    return steps


def fine_tune(
    begin: FineTuning,
    images: AnnotatedImages,
    settings: DetectorTrainingSettings,
    layers: str,
    progress: Progress,
) -> FineTuning:
    """Train the last layers of a detector whose class channels are those of the labels.

    Args:
        begin: the detector and its mAP50
        images: images with objects
        settings: epochs, learning rate and seed
        layers: as in `choose_layers`
        progress: shows the progress of the epochs
    """
    detector = begin.detector
    module, read_boxes = OnnxModule(detector.model), BoxReader(detector.boxes, detector.input_spec)
    tail = GraphTail(detector.model, module, choose_layers(detector.model, layers))
    parameters = [module.get_parameter_by_name(name) for name in tail.trained]
    optimizer = torch.optim.AdamW(parameters, lr=settings.learning_rate, weight_decay=1e-4)
    training = _compute_features(tail, images, detector, settings.seed, progress)
    count = len(training)
    steps_per_epoch = math.ceil(count / BATCH_SIZE)
    every = max(1, settings.epochs // CHECKS)
    best = FineTuning(detector, layers, 0, begin.map50)
    highest_rate = settings.learning_rate * RATES[layers]
    checks_without_gain = 0
    for epoch in progress(range(settings.epochs), f"training {layers}"):
        rng = np.random.default_rng((settings.seed, epoch))
        order = rng.permutation(count)
        for step in range(steps_per_epoch):
            share = (epoch + step / steps_per_epoch) / settings.epochs
            for group in optimizer.param_groups:
                group["lr"] = highest_rate * (1 + math.cos(math.pi * share)) / 2
            batch = [
                training[index][rng.integers(len(training[index]))]
                for index in order[step * BATCH_SIZE : (step + 1) * BATCH_SIZE]
            ]
            outputs = tail([torch.cat(each).float() for each in zip(*(view.features for view in batch), strict=True)])
            optimizer.zero_grad()
            loss = detection_loss(read_boxes(outputs), [view.targets for view in batch])
            loss.backward()  # type: ignore[no-untyped-call]  # torch has no annotation
            torch.nn.utils.clip_grad_norm_(parameters, 10.0)
            optimizer.step()
        if (epoch + 1) % every and epoch + 1 < settings.epochs:
            continue
        trained = detector._replace(model=module.copy_with_learned_weights(detector.model))
        map50 = images.validate(trained)
        checks_without_gain = 0 if map50 > best.map50 else checks_without_gain + 1
        if map50 > best.map50:
            best = FineTuning(trained, layers, epoch + 1, map50)
        if checks_without_gain >= PATIENCE:
            break
    return best


class _VariedImage(NamedTuple):
    """Features and objects of one variation of an image."""

    features: list[Tensor]
    targets: ImageTargets


def _compute_features(
    tail: GraphTail, images: AnnotatedImages, detector: ImportedDetector, seed: int, progress: Progress
) -> list[list[_VariedImage]]:
    """Variations of each training image, as many as fit into FEATURE_BYTES."""
    varied: list[list[_VariedImage]] = []
    count = 1
    for number, path in enumerate(progress(images.training, "features")):
        image, rng = _read_image(path, images.truth[path], detector), np.random.default_rng((seed, 1, number))
        views: list[_VariedImage] = []
        while len(views) < count:
            pixels, targets = _vary(image, rng)
            features = tail.compute_features(normalize_images([pixels[None]], detector.input_spec).numpy())
            views.append(_VariedImage([each.half() for each in features], targets))
            if not varied:
                size = sum(each.nbytes for each in views[0].features) * len(images.training)
                count = max(1, min(MAX_VARIATIONS, FEATURE_BYTES // size))
        varied.append(views)
    return varied


def _read_image(path: Path, objects: Sequence[AnnotatedObject], detector: ImportedDetector) -> _TrainingImage:
    image, spec = image_files.read_image(path), detector.input_spec
    fraction = np.tile(content_fraction(spec, image.shape[:2]), 2)
    return _TrainingImage(
        Preprocess(spec)(image)[0],
        box_array(each.box for each in objects) * fraction,
        [each.label for each in objects],
        [each.crowd for each in objects],
    )


def _vary(image: _TrainingImage, rng: np.random.Generator) -> tuple[NDArray[Any], ImageTargets]:
    """A variation of an image, and the objects of which enough remains visible."""
    height, width = image.pixels.shape[:2]
    variation = SceneVariation.draw(height, width, rng)
    edges = variation.vary_boxes(image.edges, height, width)
    visible = edges.clip(0, 1)
    areas = [np.prod(each[:, 2:] - each[:, :2], axis=1) for each in (visible, edges)]
    kept = torch.from_numpy(areas[0] >= MIN_VISIBLE * areas[1])
    return variation.vary_image(image.pixels), ImageTargets(
        torch.from_numpy(visible.astype(np.float32))[kept],
        torch.tensor(image.labels, dtype=torch.long)[kept],
        torch.tensor(image.crowds, dtype=torch.bool)[kept],
    )
