"""Video clips as difference images: finds clips, groups them, and extracts their images.

    clip      the unit that gets one prediction: a file, or each piece of PIECE_SECONDS of longer normal footage
    group     clips that a split keeps together: those of one file, unless the goal file sets another rule. If normal
              footage has fewer files than the split has parts, a group is a run of consecutive pieces, because
              neighboring pieces are alike
    images    the input of the model, several per second of a clip (runtime/inference/frame_differencing.py)

The images are written as files, so that a build handles them like other images: it splits, fits, quantizes, compares
and shows them. They are in a temporary folder, which is deleted after the build. The audit does not search clips for
near duplicates, so the user must group clips that were cut from one recording.

The runtime computes the score of a clip from its images: the highest score.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import cv2
import msgspec

from vedette.runtime.bundle.manifest import ModelInput, MotionInput
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.evaluation import behaviour_evaluation
from vedette.runtime.progress import Progress

from ..goal.goal_tables import DataSettings
from . import clip_groups
from .labeled_images import LabeledImages
from .split import SPLIT_FRACTIONS, Split
from .stratified_split import StratifiedSplit

PIECE_SECONDS = 10.0
CONSECUTIVE_GROUPS = 12  # groups of consecutive pieces, if there are few long files

_Split = TypeVar("_Split", Split, StratifiedSplit)


class ClipImages(msgspec.Struct, frozen=True):
    """Images of clips. The folder of an image names its clip; the file stem is its time in milliseconds."""

    images: LabeledImages
    folder: tempfile.TemporaryDirectory[str]
    """The folder of the images; it is deleted with this object."""


def extract_clip_images(
    by_label: dict[str, Path],
    data: DataSettings,
    base: Path,
    spec: ModelInput,
    motion: MotionInput,
    divided_label: str,
    progress: Progress,
) -> ClipImages:
    """Extracts the difference images of all clips.

    Args:
        by_label: folders of recordings
        data: the table `[data]` of the goal, for groups
        base: folder of the goal file
        spec: input of the model
        motion: number and spacing of the frames of a difference image
        divided_label: label whose long files are divided into pieces; files of other labels are single clips
        progress: shows the progress of the loop over the files

    Raises:
        ConfigProblem: a folder is empty; a file has two labels, cannot be read or shows no motion; or the groups cannot
            be read.
        MachineProblem: the images cannot be written.
    """
    files = {label: behaviour_evaluation.find_videos(folder) for label, folder in by_label.items()}
    label_of: dict[Path, str] = {}
    for label, paths in files.items():
        if shared := label_of.keys() & set(paths):
            hint = "folders are searched with their subfolders: keep them apart"
            raise ConfigProblem(f"{min(shared)} would have the label {label} and another one", hint=hint)
        label_of |= dict.fromkeys(paths, label)
    groups = clip_groups.group_clips(files, by_label, data.group, base)
    folder = tempfile.TemporaryDirectory(prefix="vedette-clips-")
    images: dict[str, list[Path]] = {label: [] for label in files}
    group_of: dict[Path, str] = {}
    for number, path in enumerate(progress(list(label_of), "reading clips")):
        label = label_of[path]
        for taken, pixels in behaviour_evaluation.difference_images(path, spec, motion):
            piece = f"@{int(taken // PIECE_SECONDS)}" if label == divided_label and taken >= PIECE_SECONDS else ""
            clip = Path(folder.name) / label / f"{number:04}-{path.name}{piece}"
            clip.mkdir(parents=True, exist_ok=True)
            images[label].append(clip / f"{round(1000 * taken):09}.png")
            if not cv2.imwrite(str(images[label][-1]), pixels):
                raise MachineProblem(f"{clip}: cannot be written", hint="free space there, or set TMPDIR")
            group_of[images[label][-1]] = groups[path]
    if divided_label in files and data.group is None and len(files[divided_label]) < len(SPLIT_FRACTIONS):
        group_of |= _group_consecutive_clips(images[divided_label], group_of)
    return ClipImages(LabeledImages(images, {label: Path(folder.name) / label for label in files}, group_of), folder)


def _group_consecutive_clips(paths: list[Path], groups: dict[Path, str]) -> dict[Path, str]:
    """Groups consecutive clips into about CONSECUTIVE_GROUPS groups over all files."""
    order = {clip: number for number, clip in enumerate(dict.fromkeys(path.parent for path in paths))}
    return {
        path: f"{groups[path]}@{order[path.parent] * CONSECUTIVE_GROUPS // max(len(order), CONSECUTIVE_GROUPS)}"
        for path in paths
    }


def group_by_clip(paths: Iterable[Path]) -> dict[Path, list[Path]]:
    """Returns the images of each clip. The key is the middle image of the clip, which represents it."""
    clips: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        clips.setdefault(path.parent, []).append(path)
    return {images[len(images) // 2]: images for images in clips.values()}


def one_image_per_clip(images: _Split, purposes: Iterable[str]) -> _Split:
    """The split with one image for each clip, which stands for it in counts and in the report."""
    parts = {purpose: list(group_by_clip(getattr(images, purpose))) for purpose in purposes}
    return msgspec.structs.replace(images, **parts)


def require_clips(by_label: dict[str, list[Path]], minimum: int, reason: str) -> None:
    """Checks that each label has at least `minimum` clips.

    Args:
        by_label: images of clips by label
        minimum: number of clips
        reason: ending of the error message

    Raises:
        ConfigProblem: a label has fewer.
    """
    for label, paths in by_label.items():
        if (count := len({path.parent for path in paths})) < minimum:
            hint = "a few minutes of footage, or dozens of clips, are better"
            raise ConfigProblem(f"{label}: {count} clips, at least {minimum} are needed{reason}", hint=hint)
