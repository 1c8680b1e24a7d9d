"""Does someone behave as nobody does here, or as those in given clips do?

    footage   one camera's normal footage, without labels: what moves more, otherwise or elsewhere than usual is an
              anomaly, with a box (compress/models/motion_energy.py). Clips of abnormal behaviour only measure
    classes   clips with labels: a classifier over EfficientNet-Lite0, as for images (`Labelled`, behaviour_clips.py)

Both look at difference pictures (runtime/inference/frame_differencing.py). The rest of a build treats those as images;
data/video_clips.py makes them. Each clip gets one score: the highest that the device would have reported during it. The
threshold is chosen for clips, and the AUROC counts clips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from math import ceil
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.bundle.manifest import Motion
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.inference.frame_differencing import ZERO

from ..data import split, video_clips
from ..data.feature_cache import parted
from ..data.split import SHARES, Split
from ..evaluation import anomaly_scoring, conformal_threshold
from ..evaluation.anomaly_scoring import Seen
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate, Fitted
from ..evaluation.conformal_threshold import Threshold
from ..evaluation.model_runners import Runner
from ..goal.goal_file import Goal
from ..models import efficientnet_lite
from ..models.motion_energy import Zones
from ..report import anomaly_page
from ..search.study import Effort
from ..training import anomaly_fitting
from .anomaly import FALSE_ALARM_RATE

INPUT = 128  # pixels: a person who fills a tenth of the height still is a cell and a half
GAIN = 2.0  # integers for a grey level: differences beyond 64 levels all look alike
WINDOW = 1.0  # seconds
MOST = 4000  # pictures that zones are fitted to, taken evenly: thirteen minutes
_EXAMPLES = 2
_GOOD, _DEFECT = "footage", "abnormal"


def behaviour(goal: Goal, device: DeviceProfile) -> Any:
    """The task: `Unlabelled`, or `Labelled` where the goal file names classes."""
    if goal.data.classes is None:
        return Unlabelled(goal, device)
    from .behaviour_classes import Labelled

    return Labelled(goal, device)


def sight(goal: Goal) -> Motion:
    """How motion is seen."""
    return Motion(goal.model.spacing, GAIN, WINDOW)


class Unlabelled:
    """Normal footage alone; see above."""

    what = "motion by zone"

    def __init__(self, goal: Goal, _device: DeviceProfile) -> None:
        self.goal = goal
        self.size = goal.model.input or INPUT
        self.spec, self.motion = efficientnet_lite.input_of(self.size), sight(goal)

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        data = self.goal.data
        named = {_GOOD: base / str(data.footage)} | ({_DEFECT: base / data.abnormal} if data.abnormal else {})
        self.clips = video_clips.shown(named, data, base, self.spec, self.motion, _GOOD, track)
        found = self.clips.images
        video_clips.need({_GOOD: found.by_label[_GOOD]}, len(SHARES), "")
        labels = {"good": found.by_label[_GOOD]} | ({"defect": found.by_label[_DEFECT]} if data.abnormal else {})
        images = msgspec.structs.replace(found, by_label=labels)
        as_good = msgspec.structs.replace(data, good=str(data.footage), defect=data.abnormal, mask=None)
        divided = split.split(as_good, base, images)
        normal, others = video_clips.by_clip(labels["good"]), video_clips.by_clip(divided.defect)
        say(f"{len(normal)} normal clips, {len(others)} others")
        return divided

    def parts(self, images: Split) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in (*SHARES, "defect")}

    def fit(
        self, images: Split, _effort: Effort | None, folder: Path, track: Track, _say: Callable[[str], None]
    ) -> Fitted:
        some = images.fit[:: ceil(len(images.fit) / MOST)]
        shown = list(split.tensors(track(some, "reading"), self.spec))
        calibration = list(split.tensors(images.calibrate, self.spec))
        return fit(self.goal, self.size, shown, calibration, folder)

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        score = candidate.manifest.output("score")
        wished = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        held_out = video_clips.by_clip(images.threshold)
        groups = [images.groups[path] for path in held_out]
        highest = score.scale * (255 - score.zero_point)
        step = score.scale / 16  # a clip's score is a mean of several
        self.float_line, line = (
            conformal_threshold.choose(
                self._see(candidate.runners[name], images.threshold, lambda paths, _: paths, name).scores,
                step,
                wished,
                groups,
                top,
            )
            for name, top in ((FLOAT, np.inf), (INT8_ONNX, highest))
        )
        return line

    def see(self, runners: dict[str, Runner], images: Split, track: Track) -> dict[str, tuple[Seen, Seen]]:
        return {
            name: (self._see(runner, images.test, track, name), self._see(runner, images.defect, track, name))
            for name, runner in runners.items()
        }

    def _see(self, runner: Runner, paths: Iterable[Path], track: Track, name: str) -> Seen:
        """The highest answer to each clip."""
        maps, scores = [], []
        for pictures in track(list(video_clips.by_clip(list(paths)).values()), f"{name}: clips"):
            found = video_clips.answers(runner, pictures, self.motion)
            best = max(found, key=lambda each: float(each["score"].flat[0]))
            maps.append(best["map"].reshape(best["map"].shape[-2:]))
            scores.append(float(best["score"].flat[0]))
        return Seen(maps, np.array(scores))

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return anomaly_scoring.figures(seen, _judged(images), {}, line) | {"input": self.size, "judged": "clips"}

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score, "motion": self.motion}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        found = anomaly_page.evidence(_judged(images), seen, line, self.float_line)
        return found | {"page": "behaviour"}


def fit(goal: Goal, size: int, shown: list[Any], calibration: list[Any], folder: Path) -> Fitted:
    """Zones, float and int8, each fitted to its own energies; pictures of 1 x size x size x 3, u8.

    What is to be noticed moves more than what calibrates, and the integers must reach that far: so each picture
    calibrates a second time, with its differences doubled.
    """
    zones = Zones(size)
    calibration = [*calibration, *(_doubled(each) for each in calibration)]

    def learn(batches: anomaly_fitting.Batches) -> None:
        zones.fit(parted(batches, len(shown))[0])

    return anomaly_fitting.twice(goal, zones, size, learn, calibration, shown, lambda _: shown, folder)


def _doubled(image: NDArray[Any]) -> NDArray[Any]:
    return np.clip(2 * image.astype(np.int16) - ZERO, 0, 255).astype(np.uint8)


def _judged(images: Split) -> Split:
    """One picture for each clip, by which it is counted and shown."""
    parts = {part: list(video_clips.by_clip(getattr(images, part))) for part in (*SHARES, "defect")}
    return msgspec.structs.replace(images, **parts)
