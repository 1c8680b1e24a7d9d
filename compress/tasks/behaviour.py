"""Does someone behave as nobody does here, or as those in given clips do?

    footage   one camera's normal footage, without labels: what moves more, otherwise or elsewhere than usual is an
              anomaly, with a box (compress/zones.py). Clips of abnormal behaviour only measure
    classes   clips with labels: a classifier over EfficientNet-Lite0, as for images (`Labelled`, behaviour_clips.py)

Both look at pictures of what has changed (runtime/motion.py), and to everything else in a build those are images;
clips.py makes them. What is judged is the clip: its score is the highest that the device would have told while it was
shown, the threshold is drawn for clips, and the AUROC counts clips.
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
from vedette.runtime.manifest import Motion
from vedette.runtime.motion import ZERO
from vedette.runtime.verify import Track

from .. import backbone, clips, dataset, fitting, measure, threshold
from ..candidate import FLOAT, INT8_ONNX, Candidate, Fitted
from ..dataset import SHARES, Split
from ..gallery import parted
from ..goal import Goal
from ..measure import Seen
from ..runners import Runner
from ..search import Effort
from ..threshold import Threshold
from ..zones import Zones
from . import anomaly_report
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
    from .behaviour_clips import Labelled

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
        self.spec, self.motion = backbone.input_of(self.size), sight(goal)

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Split:
        data = self.goal.data
        named = {_GOOD: base / str(data.footage)} | ({_DEFECT: base / data.abnormal} if data.abnormal else {})
        self.clips = clips.shown(named, data, base, self.spec, self.motion, _GOOD, track)
        found = self.clips.images
        clips.need({_GOOD: found.by_label[_GOOD]}, len(SHARES), "")
        labels = {"good": found.by_label[_GOOD]} | ({"defect": found.by_label[_DEFECT]} if data.abnormal else {})
        images = msgspec.structs.replace(found, by_label=labels)
        as_good = msgspec.structs.replace(data, good=str(data.footage), defect=data.abnormal, mask=None)
        divided = dataset.split(as_good, base, images)
        say(f"{len(clips.by_clip(labels['good']))} normal clips, {len(clips.by_clip(divided.defect))} others")
        return divided

    def parts(self, images: Split) -> dict[str, list[Path]]:
        return {part: getattr(images, part) for part in (*SHARES, "defect")}

    def fit(
        self, images: Split, _effort: Effort | None, folder: Path, track: Track, _say: Callable[[str], None]
    ) -> Fitted:
        some = images.fit[:: ceil(len(images.fit) / MOST)]
        shown = list(dataset.tensors(track(some, "reading"), self.spec))
        calibration = list(dataset.tensors(images.calibrate, self.spec))
        return fit(self.goal, self.size, shown, calibration, folder)

    def draw(self, candidate: Candidate, images: Split) -> Threshold:
        score = candidate.manifest.output("score")
        wished = self.goal.goal.false_alarm_rate or FALSE_ALARM_RATE
        held_out = clips.by_clip(images.threshold)
        groups = [images.groups[path] for path in held_out]
        highest = score.scale * (255 - score.zero_point)
        step = score.scale / 16  # a clip's score is a mean of several
        self.float_line, line = (
            threshold.choose(
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
        for pictures in track(list(clips.by_clip(list(paths)).values()), f"{name}: clips"):
            found = clips.answers(runner, pictures, self.motion)
            best = max(found, key=lambda each: float(each["score"].flat[0]))
            maps.append(best["map"].reshape(best["map"].shape[-2:]))
            scores.append(float(best["score"].flat[0]))
        return Seen(maps, np.array(scores))

    def figures(self, seen: dict[str, tuple[Seen, Seen]], images: Split, line: Threshold) -> dict[str, Any]:
        return measure.figures(seen, _judged(images), {}, line) | {"input": self.size, "judged": "clips"}

    def settings(self, _images: Split, line: Threshold) -> dict[str, Any]:
        return {"labels": ("anomaly",), "threshold": line.score, "motion": self.motion}

    def examples(self, images: Split) -> list[Path]:
        return [*images.test[:_EXAMPLES], *images.defect[:_EXAMPLES]]

    def evidence(self, images: Split, seen: dict[str, tuple[Seen, Seen]], line: Threshold) -> dict[str, Any]:
        found = anomaly_report.evidence(_judged(images), seen, line, self.float_line)
        return found | {"page": "behaviour"}


def fit(goal: Goal, size: int, shown: list[Any], calibration: list[Any], folder: Path) -> Fitted:
    """Zones, float and int8, each fitted to its own energies; pictures of 1 x size x size x 3, u8.

    What is to be noticed moves more than what calibrates, and the integers must reach that far: so each picture
    calibrates a second time, with its differences doubled.
    """
    zones = Zones(size)
    calibration = [*calibration, *(_doubled(each) for each in calibration)]

    def learn(batches: fitting.Batches) -> None:
        zones.fit(parted(batches, len(shown))[0])

    return fitting.twice(goal, zones, size, learn, calibration, shown, lambda _: shown, folder)


def _doubled(image: NDArray[Any]) -> NDArray[Any]:
    return np.clip(2 * image.astype(np.int16) - ZERO, 0, 255).astype(np.uint8)


def _judged(images: Split) -> Split:
    """One picture for each clip, by which it is counted and shown."""
    parts = {part: list(clips.by_clip(getattr(images, part))) for part in (*SHARES, "defect")}
    return msgspec.structs.replace(images, **parts)
