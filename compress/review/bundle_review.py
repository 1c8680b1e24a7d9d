"""The review of a finished bundle: its members, its models, and images from a folder."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vedette import devices
from vedette.devices import DeviceProfile
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.manifest import ONNX
from vedette.runtime.camera import image_files
from vedette.runtime.camera.privacy_warnings import fitted_zones
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.evaluation import object_annotations
from vedette.runtime.inference.backends.onnx import OnnxBackend
from vedette.runtime.inference.float_model import DIGEST_KEY
from vedette.runtime.inference.inspector import Inspector

from ..evaluation.model_runners import FloatRunner, Int8Runner
from .finding import Review, sort_findings
from .graph_checks import check_graphs, check_onnx
from .review import review_models, review_subject
from .subject import COMMAND_EFFORT, ReviewImages, Subject


def review_bundle(bundle: Bundle, data: Path | None) -> Review:
    """Review a bundle; no library loads a model whose graph has a finding of severity `high`.

    Args and errors as for `open_subject`.
    """
    model_id = bundle.manifest.model_id
    found = list(check_graphs(bundle.manifest, bundle.members))
    if any(each.severity == "high" for each in found):
        return Review(bundle=model_id, findings=sort_findings(found))
    with image_files.black_zones(fitted_zones(bundle.manifest)):
        subject = open_subject(bundle, data)
        return review_subject(subject, model_id, review_models(subject, found))


def open_subject(bundle: Bundle, data: Path | None) -> Subject:
    """What the review of a bundle looks at.

    Args:
        bundle: a verified bundle
        data: test images, in folders as for `vedette verify --data`; None: no images

    Raises:
        ConfigProblem: a folder is missing or empty, or an annotation cannot be read
        BundleProblem: the reference image of the alignment is missing
    """
    manifest = bundle.manifest
    images = ReviewImages() if data is None else find_review_images(bundle, data)
    inspector = Inspector.from_bundle(bundle)
    int8 = Int8Runner(OnnxBackend(bundle.model(ONNX), manifest, threads=1), manifest, inspector)
    content = _read_float_model(bundle)
    reference = None if content is None else FloatRunner(content, manifest, inspector)
    return Subject(manifest, bundle.members, int8, reference, images, _find_profile(manifest.device), COMMAND_EFFORT)


def find_review_images(bundle: Bundle, data: Path) -> ReviewImages:
    """Images below `data`, with the labels that their folders say.

    Raises:
        ConfigProblem: as `open_subject`
    """
    manifest = bundle.manifest
    if manifest.task == "detect":
        labels = data / "labels" if (data / "labels").exists() else data / "labels.json"
        truth = object_annotations.read_annotations(data / "images", labels, manifest.labels)
        return ReviewImages(list(truth), objects=list(truth.values()))
    if manifest.task == "classify":
        folders = [data / label for label in manifest.classes]
    elif manifest.task == "anomaly":
        folders = [data / "good", data / "defect"]
    else:
        return ReviewImages(image_files.find_images(data))
    found = [image_files.find_images(folder) if folder.is_dir() else [] for folder in folders]
    if not any(found):
        hint = f"it should hold images in folders named {', '.join(folder.name for folder in folders)}"
        raise ConfigProblem(f"{data}: no folder of images in it", hint=hint)
    return ReviewImages(
        [path for paths in found for path in paths], [label for label, paths in enumerate(found) for _ in paths]
    )


def _read_float_model(bundle: Bundle) -> bytes | None:
    """The float model beside the bundle; None: there is none, it has another digest, or its graph is not harmless."""
    path, digest = bundle.path.with_suffix(".float.onnx"), bundle.manifest.measured.get(DIGEST_KEY)
    if digest is None or not path.is_file():
        return None
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest or any(each.severity == "high" for each in check_onnx(content)):
        return None
    return content


def _find_profile(name: str) -> DeviceProfile | None:
    return devices.load_profile(name) if name in devices.profile_names() else None
