"""Recordings of behaviour, shown to a build as pictures: which clips there are, which belong together, and their
pictures.

    clip      what is judged as one: a file or, of normal footage that lasts longer than PIECE seconds, each such piece
    group     what is never divided: a file, unless the goal file says otherwise. Footage of fewer files than there are
              parts is divided by stretches of consecutive pieces: what lies side by side is alike
    pictures  what the model sees of a clip, every `footage.STEP` seconds (runtime/inference/frame_differencing.py)

Pictures are written as files, for then all that a build does with images, it does with them: they are divided, fitted,
quantised, compared and shown as others are. They lie in a folder of their own that goes when the build is done. Nothing
here looks for near copies among clips: group what was cut from one recording.

What a clip comes to is worked out by the runtime's own code from the outputs of its pictures: its highest answer.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import msgspec
from numpy.typing import NDArray

from vedette.runtime.bundle.manifest import Input, Motion
from vedette.runtime.camera import image_files
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.evaluation import video_evaluation
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference import frame_differencing

from ..evaluation.model_runners import Runner
from ..goal.goal_file import Data
from . import clip_groups
from .split import SHARES, Images

PIECE = 10.0  # seconds
BLOCKS = 12  # that few long files are divided into


class Clips(msgspec.Struct, frozen=True):
    """Pictures of clips. The folder of a picture is its clip, its stem the millisecond that it was taken at."""

    images: Images
    folder: tempfile.TemporaryDirectory[str]
    """Where they are; it is deleted with this."""


def shown(
    by_label: dict[str, Path], data: Data, base: Path, spec: Input, sight: Motion, pieces: str, track: Track
) -> Clips:
    """The pictures of all clips.

    Args:
        by_label: folders of recordings
        data: what the goal file says of groups
        base: folder of the goal file
        spec: of the model
        sight: how it sees motion
        pieces: the label whose files are cut in pieces where they are long; the others are judged whole
        track: wraps the loop over the files

    Raises:
        ConfigProblem: a folder is empty, a file has two labels, cannot be read or shows no motion, or the groups cannot
            be read.
        MachineProblem: there is no room for the pictures.
    """
    files = {label: video_evaluation.find(folder) for label, folder in by_label.items()}
    seen: set[Path] = set()
    for label, paths in files.items():
        if both := seen & set(paths):
            hint = "folders are searched with their sub-folders: keep them apart"
            raise ConfigProblem(f"{min(both)} would count as {label} and as something else", hint=hint)
        seen |= set(paths)
    groups = clip_groups.of(files, by_label, data.group, base)
    place = tempfile.TemporaryDirectory(prefix="vedette-clips-")
    images: dict[str, list[Path]] = {label: [] for label in files}
    group_of: dict[Path, str] = {}
    number = {path: each for each, path in enumerate(path for paths in files.values() for path in paths)}
    for path in track(list(number), "looking at clips"):
        label = next(label for label, paths in files.items() if path in paths)
        for taken, pixels in video_evaluation.pictures(path, spec, sight):
            piece = f"@{int(taken // PIECE)}" if label == pieces and taken >= PIECE else ""
            clip = Path(place.name) / label / f"{number[path]:04}-{path.name}{piece}"
            clip.mkdir(parents=True, exist_ok=True)
            images[label].append(clip / f"{round(1000 * taken):09}.png")
            if not cv2.imwrite(str(images[label][-1]), pixels):
                raise MachineProblem(f"{clip}: cannot be written", hint="make room there, or set TMPDIR")
            group_of[images[label][-1]] = groups[path]
    if pieces in files and data.group is None and len(files[pieces]) < len(SHARES):
        group_of |= _blocks(images[pieces], group_of)
    return Clips(Images(images, {label: Path(place.name) / label for label in files}, group_of), place)


def _blocks(paths: list[Path], groups: dict[Path, str]) -> dict[Path, str]:
    """Groups of consecutive clips, about BLOCKS of them over all files."""
    order = {clip: number for number, clip in enumerate(dict.fromkeys(path.parent for path in paths))}
    return {path: f"{groups[path]}@{order[path.parent] * BLOCKS // max(len(order), BLOCKS)}" for path in paths}


def by_clip(paths: Sequence[Path]) -> dict[Path, list[Path]]:
    """The pictures of each clip, by the one in its middle, which stands for it."""
    clips: dict[Path, list[Path]] = {}
    for path in sorted(paths):
        clips.setdefault(path.parent, []).append(path)
    return {pictures[len(pictures) // 2]: pictures for pictures in clips.values()}


def outputs(runner: Runner, pictures: Sequence[Path]) -> list[tuple[float, dict[str, NDArray[Any]]]]:
    """What a model makes of each picture of a clip, in real numbers, and when the picture was taken, in seconds."""
    return [(int(path.stem) / 1000, runner(image_files.read(path))) for path in pictures]


def answers(runner: Runner, pictures: Sequence[Path], sight: Motion) -> list[dict[str, NDArray[Any]]]:
    """What the device would have answered while it saw the clip."""
    return frame_differencing.answers(sight, outputs(runner, pictures))


def need(found: dict[str, list[Path]], least: int, what: str) -> None:
    """That there are so many clips of each.

    Raises:
        ConfigProblem: there are not.
    """
    for label, paths in found.items():
        if (count := len({path.parent for path in paths})) < least:
            hint = "a few minutes of footage, or dozens of clips, are better"
            raise ConfigProblem(f"{label}: {count} clips, at least {least} are needed{what}", hint=hint)
