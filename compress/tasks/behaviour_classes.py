"""Which kind of behaviour is it? The classifier of images (classify.py), over pictures of what has changed.

A clip's scores are the means of its pictures', as its label is that of the whole clip. With what is normal named (a
class called `normal` or `good`, or `data.normal`), the AUROC is that of the probability that a clip is none of it;
without, of the probability that it is not of the first class.

Mirrored left-right people fight alike, and upside down they are not seen, so nothing is flipped here; light is left as
it is too, for in a picture of differences it would be motion.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.metrics import auroc, auroc_interval
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.evaluation.video_evaluation import NORMAL
from vedette.runtime.inference.frame_differencing import together
from vedette.runtime.inference.heads.classify import softmax

from ..data import stratified_split, video_clips
from ..data.augmentation import Augment
from ..data.split import SHARES
from ..data.stratified_split import Labelled as Divided
from ..evaluation import confidence_calibration
from ..evaluation.built_models import FLOAT, INT8_ONNX, Candidate
from ..evaluation.confidence_calibration import Confidence
from ..evaluation.model_runners import Runner
from ..goal.goal_file import Goal
from ..models import efficientnet_lite
from .behaviour import INPUT, sight
from .classify import ERROR_RATE, Classify


class Labelled(Classify):
    """The task; see above."""

    what = "a classifier of clips"
    epochs = 0  # dozens of clips from a handful of cameras tell a head enough, and a backbone too little

    def __init__(self, goal: Goal, device: DeviceProfile) -> None:
        super().__init__(msgspec.structs.replace(goal, augment=goal.augment or Augment(light=0.0)), device)
        self.size = goal.model.input or INPUT
        self.spec, self.motion = efficientnet_lite.input_of(self.size), sight(goal)

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> Divided:
        data = self.goal.data
        folders = stratified_split.folders_of(data, base)
        self.clips = video_clips.shown(folders, data, base, self.spec, self.motion, "", track)
        video_clips.need(self.clips.images.by_label, len(SHARES), " for each class")
        normal = data.normal or tuple(name for name in folders if name in NORMAL)
        as_images = msgspec.structs.replace(data, normal=normal, group=data.group or "folder")
        divided = stratified_split.divide(as_images, base, self.clips.images)
        counts = {name: len(video_clips.by_clip(paths)) for name, paths in self.clips.images.by_label.items()}
        say(", ".join(f"{count} clips of {name}" for name, count in counts.items()))
        return divided

    def draw(self, candidate: Candidate, images: Divided) -> Confidence:
        truth = np.array(images.labels(list(video_clips.by_clip(images.threshold))))
        self.float_line, line = (
            confidence_calibration.choose(
                scores(candidate.runners[name], images.threshold), truth, self.goal.goal.error_rate or ERROR_RATE
            )
            for name in (FLOAT, INT8_ONNX)
        )
        return line

    def see(self, runners: dict[str, Runner], images: Divided, track: Track) -> dict[str, NDArray[Any]]:
        """Scores of the test clips, n x K."""
        return {name: scores(runner, list(track(images.test, name))) for name, runner in runners.items()}

    def figures(self, seen: dict[str, NDArray[Any]], images: Divided, line: Confidence) -> dict[str, Any]:
        judged = _judged(images)
        found = super().figures(seen, judged, line) | {"input": self.size, "judged": "clips"}
        normal = judged.normal or judged.classes[:1]
        fine = [judged.classes.index(name) for name in normal]
        is_fine = np.isin(judged.labels(judged.test), fine)
        for name, each in seen.items():
            odd = 1 - softmax(each, line.temperature)[:, fine].sum(axis=1)
            found[f"auroc_{name}"] = auroc(odd[is_fine], odd[~is_fine])
            found[f"auroc_interval_{name}"] = auroc_interval(odd[is_fine], odd[~is_fine])
        return found

    def settings(self, images: Divided, line: Confidence) -> dict[str, Any]:
        return super().settings(images, line) | {"motion": self.motion}

    def evidence(self, images: Divided, seen: dict[str, NDArray[Any]], line: Confidence) -> dict[str, Any]:
        return super().evidence(_judged(images), seen, line) | {"page": "classify"}


def scores(runner: Runner, paths: list[Path]) -> NDArray[Any]:
    """Of each clip whose pictures are among `paths`, n x K."""
    found = [
        [each for _, each in video_clips.outputs(runner, pictures)] for pictures in video_clips.by_clip(paths).values()
    ]
    return np.stack([together(each)["scores"].ravel() for each in found])


def _judged(images: Divided) -> Divided:
    """One picture for each clip, by which it is counted and shown."""
    return msgspec.structs.replace(
        images, **{part: list(video_clips.by_clip(getattr(images, part))) for part in SHARES}
    )
