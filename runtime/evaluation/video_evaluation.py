"""Recordings that are looked at for behaviour: which files, which pictures of them, and how well a bundle tells them.

Pictures are taken every `STEP` seconds of a recording, at the frames next to these times, so the same file always gives
the same pictures. Times are the frame's number by the file's own rate, as the source `file:` has them: with a variable
rate they are imprecise.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..bundle.bundle import Bundle
from ..bundle.manifest import Input, Manifest, Motion
from ..errors import ConfigProblem
from ..inference import heads
from ..inference.backends import Backend
from ..inference.frame_differencing import Differences, answers
from ..inference.heads.classify import Classify
from ..inference.preprocess import Preprocess
from .metrics import auroc, auroc_interval

SUFFIXES = frozenset({".avi", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".ts", ".webm", ".wmv"})
STEP = 0.2  # seconds
NORMAL = ("normal", "good", "footage")


def among(folder: Path) -> list[Path]:
    """Every recording below `folder`, by its suffix, in order of path."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())


def find(folder: Path) -> list[Path]:
    """The same, where there are to be some.

    Raises:
        ConfigProblem: there is no such folder, or no recording in it.
    """
    if not folder.is_dir():
        raise ConfigProblem(f"{folder}: no such folder", hint="it should hold recordings")
    if not (found := among(folder)):
        raise ConfigProblem(f"{folder}: no recordings in it", hint=f"they end in {', '.join(sorted(SUFFIXES))}")
    return found


def frames(path: Path) -> Iterator[tuple[float, NDArray[Any]]]:
    """Each frame, blue-green-red, with the second that it was taken at.

    Raises:
        ConfigProblem: the file cannot be read as a recording.
    """
    capture = cv2.VideoCapture(str(path))
    try:
        rate = capture.get(cv2.CAP_PROP_FPS)
        ok, image = capture.read()
        if not ok or not 0 < rate <= 1000:
            raise ConfigProblem(f"{path}: cannot be read as a recording", hint="mend it or take it out of the folder")
        number = 0
        while ok:
            yield number / rate, image
            number += 1
            ok, image = capture.read()
    finally:
        capture.release()


def pictures(path: Path, spec: Input, motion: Motion) -> Iterator[tuple[float, NDArray[Any]]]:
    """The pictures that a model of behaviour is shown of a recording, and when each was taken.

    Raises:
        ConfigProblem: it cannot be read, or is too short or too slow for a single picture.
    """
    differences, due, shown, apart = Differences(spec, motion), 0.0, 0, 0.0
    for taken, image in frames(path):
        apart = apart or taken
        differences.remember(taken, image)
        if taken < due - apart / 2:
            continue
        due += STEP
        picture = differences.picture()
        if picture is not None:
            shown += 1
            yield taken, picture
    if not shown:
        problem = f"{path}: too short, or too few frames a second, to see motion in it"
        hint = f"it must last {2 * motion.spacing:.2g} s or more, with a frame every {motion.spacing:.2g} s or oftener"
        raise ConfigProblem(problem, hint=hint)


def tensors(path: Path, manifest: Manifest) -> Iterator[tuple[float, NDArray[Any]]]:
    """The same as the model takes them."""
    preprocess = Preprocess(manifest.input)
    assert manifest.motion is not None
    for taken, picture in pictures(path, manifest.input, manifest.motion):
        yield taken, preprocess(picture)


def scores(bundle: Bundle, backend: Backend, paths: Any) -> NDArray[Any]:
    """How unusual each recording is: its highest score, or the mean probability that it is no normal class.

    Raises:
        ConfigProblem: one cannot be read.
    """
    manifest = bundle.manifest
    head = heads.load(manifest)
    found = []
    for path in paths:
        outputs = [(taken, dict(backend.run(tensor))) for taken, tensor in tensors(path, manifest)]
        if isinstance(head, Classify):
            found.append(abnormal(manifest, head.probabilities(_mean(outputs))))
        else:
            found.append(max(head(each)[0].score for each in answers(manifest.motion, outputs)))
    return np.array(found)


def _mean(outputs: list[tuple[float, dict[str, NDArray[Any]]]]) -> dict[str, NDArray[Any]]:
    return {name: np.mean([each[name] for _, each in outputs], axis=0) for name in outputs[0][1]}


def abnormal(manifest: Manifest, probabilities: NDArray[Any]) -> float:
    """How sure it is that none of the normal classes is there; without such, that the first is not."""
    normal = manifest.normal or manifest.classes[:1]
    return float(sum(p for name, p in zip(manifest.classes, probabilities, strict=True) if name not in normal))


def sorted_out(manifest: Manifest, data: Path) -> tuple[list[Path], list[Path]]:
    """Normal and other recordings below `data`: a folder `normal` (or of a normal class), and all other folders.

    Raises:
        ConfigProblem: there is no folder of normal ones.
    """
    normal = (manifest.normal or manifest.classes[:1]) if manifest.temperature is not None else NORMAL
    folders = sorted(each for each in data.iterdir() if each.is_dir()) if data.is_dir() else []
    fine = [path for folder in folders if folder.name in normal for path in among(folder)]
    odd = [path for folder in folders if folder.name not in normal for path in among(folder)]
    if not fine:
        hint = f"it should hold recordings in {' or '.join(f'{name}/' for name in normal)}, and others beside it"
        raise ConfigProblem(f"{data}: no recordings of what is normal in it", hint=hint)
    return fine, odd


def verify(report: Any, bundle: Bundle, loaded: dict[str, Backend], data: Path, track: Any) -> None:
    """Fills a report of `vedette verify` with what the recordings below `data` tell.

    An alarm is a score at or above the threshold; of a classifier, that something not normal is likelier than what is.

    Raises:
        ConfigProblem: none is there, or one cannot be read.
    """
    normal, other = sorted_out(bundle.manifest, data)
    report.good, report.defect, report.what = len(normal), len(other), "clips"
    line = bundle.manifest.threshold if bundle.manifest.temperature is None else 0.5
    for name, backend in loaded.items():
        fine = scores(bundle, backend, track(normal, f"{name}: normal"))
        report.false_alarm_rate[name] = float((fine >= line).mean())
        if other:
            odd = scores(bundle, backend, track(other, f"{name}: other"))
            report.detection_rate[name] = float((odd >= line).mean())
            setattr(report, f"auroc_int8_{name}", auroc(fine, odd))
            report.auroc_interval[name] = auroc_interval(fine, odd)
