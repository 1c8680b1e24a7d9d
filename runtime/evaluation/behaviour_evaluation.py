"""Evaluation of behaviour models on recordings: finding them, reading difference images, scoring.

An image is taken every SAMPLE_SECONDS of a recording, at the nearest frames, so a file always gives the same images.
The time of a frame is its number divided by the file's frame rate, as in the source `file:`; with a variable frame rate
it is imprecise.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import Manifest, ModelInput, MotionInput
from ..camera import folder_search
from ..errors import ConfigProblem
from ..inference import heads
from ..inference.backends import Backend
from ..inference.frame_differencing import FrameDifferencer, aggregate_windows
from ..inference.heads.classify import ClassifyHead
from ..inference.preprocess import Preprocess
from ..progress import Progress
from .verification_report import VerificationReport

VIDEO_SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})
SAMPLE_SECONDS = 0.2
NORMAL_FOLDERS = ("normal", "good", "footage")


def find_videos_below(folder: Path) -> list[Path]:
    """All recordings below `folder`, by suffix, sorted by path."""
    return [path for path in folder_search.find_files(folder) if path.suffix.lower() in VIDEO_SUFFIXES]


def find_videos(folder: Path) -> list[Path]:
    """All recordings below `folder`, at least one.

    Raises:
        ConfigProblem: there is no such folder, or no recording in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold recordings")
    if not (found := find_videos_below(folder)):
        raise ConfigProblem(f"{folder}: no recordings in it", hint=f"they end in {', '.join(sorted(VIDEO_SUFFIXES))}")
    return found


def read_frames(path: Path) -> Iterator[tuple[float, NDArray[Any]]]:
    """Each frame, blue-green-red, with its time in seconds.

    Raises:
        ConfigProblem: the file cannot be read as a recording.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        ok, image = capture.read()
        if not ok or not 0 < rate <= 1000:
            raise ConfigProblem(f"{path}: cannot be read as a recording", hint="repair it or remove it from the folder")
        number = 0
        while ok:
            yield number / rate, image
            number += 1
            ok, image = capture.read()
    finally:
        capture.release()


def difference_images(path: Path, spec: ModelInput, motion: MotionInput) -> Iterator[tuple[float, NDArray[Any]]]:
    """The difference images of a recording, each with its time in seconds.

    Raises:
        ConfigProblem: the file cannot be read, or is too short or has too few frames for a single image.
    """
    differencer, next_sample, image_count, frame_interval = FrameDifferencer(spec, motion), 0.0, 0, 0.0
    for taken, image in read_frames(path):
        frame_interval = frame_interval or taken
        differencer.add_frame(taken, image)
        if taken < next_sample - frame_interval / 2:
            continue
        next_sample += SAMPLE_SECONDS
        difference = differencer.difference_image()
        if difference is not None:
            image_count += 1
            yield taken, difference
    if not image_count:
        problem = f"{path}: too short, or too few frames a second, to show motion"
        hint = f"it must last {2 * motion.spacing:.2g} s or more, with a frame at least every {motion.spacing:.2g} s"
        raise ConfigProblem(problem, hint=hint)


def model_inputs(path: Path, manifest: Manifest) -> Iterator[tuple[float, NDArray[Any]]]:
    """The preprocessed difference images of a recording, each with its time in seconds."""
    preprocess = Preprocess(manifest.input)
    assert manifest.motion is not None
    for taken, difference in difference_images(path, manifest.input, manifest.motion):
        yield taken, preprocess(difference)


def score_videos(bundle: Bundle, backend: Backend, paths: Iterable[Path]) -> NDArray[Any]:
    """The anomaly score of each recording: its highest score, or for a classifier the mean probability of all classes
    that are not normal.

    Raises:
        ConfigProblem: a recording cannot be read.
    """
    manifest = bundle.manifest
    head = heads.load_head(manifest)
    scores = []
    for path in paths:
        outputs = [(taken, dict(backend.run(tensor))) for taken, tensor in model_inputs(path, manifest)]
        if isinstance(head, ClassifyHead):
            scores.append(abnormal_probability(manifest, head.probabilities(_mean_outputs(outputs))))
        else:
            scores.append(max(head(each)[0].score for each in aggregate_windows(manifest.motion, outputs)))
    return np.array(scores)


def _mean_outputs(outputs: list[tuple[float, dict[str, NDArray[Any]]]]) -> dict[str, NDArray[Any]]:
    return {name: np.mean([each[name] for _, each in outputs], axis=0) for name in outputs[0][1]}


def abnormal_probability(manifest: Manifest, probabilities: NDArray[Any]) -> float:
    """The probability of all classes that are not normal; if none is marked as normal, the first one is."""
    normal = _normal_classes(manifest)
    return float(sum(p for name, p in zip(manifest.classes, probabilities, strict=True) if name not in normal))


def _normal_classes(manifest: Manifest) -> tuple[str, ...]:
    return manifest.normal or manifest.classes[:1]


def normal_and_abnormal_videos(manifest: Manifest, data: Path) -> tuple[list[Path], list[Path]]:
    """Normal and abnormal recordings below `data`: a folder `normal` (or of a normal class), and all other folders.

    Raises:
        ConfigProblem: there are no normal recordings.
    """
    normal_names = _normal_classes(manifest) if manifest.temperature is not None else NORMAL_FOLDERS
    folders = sorted(each for each in data.iterdir() if each.is_dir()) if data.is_dir() else []
    normal_videos = [path for folder in folders if folder.name in normal_names for path in find_videos_below(folder)]
    abnormal_videos = [
        path for folder in folders if folder.name not in normal_names for path in find_videos_below(folder)
    ]
    if not normal_videos:
        hint = f"it should hold recordings in {' or '.join(f'{name}/' for name in normal_names)}, and others beside it"
        raise ConfigProblem(f"{data}: no recordings of normal behaviour in it", hint=hint)
    return normal_videos, abnormal_videos


def evaluate_behaviour_model(
    report: VerificationReport, bundle: Bundle, backends: dict[str, Backend], data: Path, progress: Progress
) -> None:
    """Adds the figures of a behaviour model on the recordings below `data` to a report of `vedette verify`.

    An alarm is a score at or above the threshold; for a classifier, a probability of at least 0.5 of abnormal classes.

    Raises:
        ConfigProblem: there is no recording, or one cannot be read.
    """
    normal, abnormal = normal_and_abnormal_videos(bundle.manifest, data)
    report.good, report.defect, report.what = len(normal), len(abnormal), "clips"
    threshold = bundle.manifest.threshold if bundle.manifest.temperature is None else 0.5
    for name, backend in backends.items():
        normal_scores = score_videos(bundle, backend, progress(normal, f"{name}: normal"))
        abnormal_scores = score_videos(bundle, backend, progress(abnormal, f"{name}: other")) if abnormal else ()
        report.add_anomaly_scores(name, threshold, normal_scores, abnormal_scores)
