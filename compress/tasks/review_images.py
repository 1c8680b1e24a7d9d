"""The test images of a build as its review takes them: with their labels or annotated objects."""

from __future__ import annotations

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import Manifest

from ..data.split import Split
from ..data.stratified_split import StratifiedSplit
from ..evaluation.built_models import FLOAT, INT8_ONNX, BuiltModels
from ..review.subject import BUILD_EFFORT, ReviewImages, Subject
from .detection_data import DetectionData
from .imported import ImportedData
from .task import TaskData


def select_review_images(data: TaskData) -> ReviewImages:
    """The test images, with what is known of them; without any, the images of `fit`, of which nothing is told."""
    images = data.images
    if isinstance(images, StratifiedSplit):
        labels = images.class_indices(images.test)
        if isinstance(data, ImportedData):  # the scores of an imported network have an order of their own
            labels = [data.labels.index(images.classes[label]) for label in labels]
        return ReviewImages(images.test, labels)
    if isinstance(data, DetectionData):
        return ReviewImages(images.test, objects=data.truth_of(images.test))
    if isinstance(data, ImportedData):
        return ReviewImages(images.test)
    return _good_and_defective(images)


def _good_and_defective(images: Split) -> ReviewImages:
    paths = [*images.test, *images.defect]
    if not images.test:
        return ReviewImages(images.fit)
    return ReviewImages(paths, [0] * len(images.test) + [1] * len(images.defect))


def make_subject(
    models: BuiltModels, manifest: Manifest, members: dict[str, bytes], data: TaskData, device: DeviceProfile
) -> Subject:
    """What the review of a build looks at.

    Args:
        models: the float and the int8 models
        manifest: complete but for results and digests
        members: of the bundle, without reports
        data: the images of the build
        device: the target device
    """
    return Subject(
        manifest=manifest,
        members=members,
        int8=models.runners[INT8_ONNX],
        float=models.runners[FLOAT],
        images=select_review_images(data),
        device=device,
        effort=BUILD_EFFORT,
    )
