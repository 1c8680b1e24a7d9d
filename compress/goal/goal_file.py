"""What is asked for: the goal file."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from vedette import devices
from vedette.runtime.config.configuration import Name
from vedette.runtime.config.configuration import read as read_toml
from vedette.runtime.errors import ConfigProblem, written_in

from ..data.augmentation import Augment
from . import duration, task_checks
from . import recipe as techniques

# By which figure the models of a task are compared: the beginning of a key of `measured`.
FIGURES = {"anomaly": "auroc", "behaviour": "auroc", "classify": "accuracy", "detect": "map50", "embed": "cosine"}

_Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Data(_Strict, frozen=True, kw_only=True):
    """`[data]`: folders, relative to the goal file."""

    good: str = ""
    """Wanted unless there are `classes`."""
    defect: str | None = None
    """Never used to fit an anomaly model, only to measure it."""
    classes: str | None = None
    """A folder with one sub-folder of images for each class."""
    images: str | None = None
    """A folder of images without labels, for a network of one's own; for `detect` those that `labels` describe."""
    labels: str | None = None
    """Of `detect`: a folder of YOLO files, or a COCO file."""
    footage: str | None = None
    """A folder of normal recordings, for `behaviour`."""
    abnormal: str | None = None
    """Recordings of what is not normal: never used to fit, only to measure."""
    normal: tuple[str, ...] | None = None
    """Classes of parts with nothing wrong; None: `good`, where there is one."""
    mask: str | None = None
    """Pixel truth of the defective images: same stem, black where nothing is wrong."""
    list: str | None = None
    """CSV file of the images to use (column file, and perhaps group), as `vedette audit --fix` writes it."""
    group: str | None = None
    """What stays together: `folder`, a CSV file (columns file and group), or a regular expression on the path below the
    folder, of which the first group (or match) counts."""
    seed: Annotated[int, msgspec.Meta(ge=0)] = 0
    name: str = ""
    """What the pictures are called, for the record."""
    licence: str = "not stated"


class Device(_Strict, frozen=True):
    """`[device]`"""

    profile: str = "host"


class Wish(_Strict, frozen=True):
    """`[goal]`: each is optional, and what is asked for is judged."""

    min_auroc: _Share | None = None
    min_accuracy: _Share | None = None
    """Share of the test images whose likeliest class is the right one, however sure it is."""
    min_cosine: _Share | None = None
    """Of the outputs of a network of one's own, int8 against float, mean of the test images."""
    min_map50: _Share | None = None
    """Mean average precision of boxes that overlap by half, over the test images."""
    max_drop: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """AUROC, accuracy or mAP50 that the int8 models may lose against the float model on the same test images."""
    max_ms: _Positive | None = None
    """Milliseconds: 95th percentile of one frame, preprocessing included."""
    max_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    """Bytes of each int8 file."""
    min_speedup: Annotated[float, msgspec.Meta(gt=0)] | None = None
    """How many times cheaper a frame is than with the float model that nothing was taken from."""
    false_alarm_rate: _Share | None = None
    """Share of good parts that may raise an event."""
    error_rate: _Share | None = None
    """Share of the answers that may be wrong; `unknown` is no answer."""


class Model(_Strict, frozen=True):
    """`[model]`"""

    detector: str = "auto"
    """`auto`: whichever suits the good images best."""
    input: Annotated[int, msgspec.Meta(ge=64, le=1024, multiple_of=32)] | None = None
    """Pixels; images are scaled to a square of it. None: 224, or what a search finds."""
    blocks: tuple[Annotated[int, msgspec.Meta(ge=1, le=15)], ...] | None = None
    """Blocks of the backbone whose features are looked at; None: whichever suit the good images best."""
    rank: Annotated[int, msgspec.Meta(ge=1)] | None = None
    """Of PaDiM: how many directions count, those in which good parts vary least. None: all, or what a search finds."""
    spacing: Annotated[float, msgspec.Meta(gt=0, le=5)] = 0.2
    """Seconds between the frames in which `behaviour` looks for motion."""
    epochs: Annotated[int, msgspec.Meta(ge=0, le=200)] | None = None
    """Of the fine-tuning of a classifier; 0: the backbone stays as it is, and only the head learns. None: 4 for images,
    0 for clips."""
    onnx: str | None = None
    """A float network of one's own; from here on the keys are for such."""
    torch: str | None = None
    """Likewise: `module:function`, or a TorchScript file."""
    tflite: str | None = None
    """Likewise: a quantised TFLite file of the family `ssd`."""
    family: Literal["yolox", "nanodet", "fastestdet", "ssd", "yolov8"] | None = None
    """Of `detect`: how the network's outputs become boxes."""
    labels: str | None = None
    """A file with the name of each score, one a line."""
    mean: float | tuple[float, float, float] = 0.0
    """Of pixels of 0…255, for all channels or for each in the order of the network: (p - mean) / std."""
    std: float | tuple[float, float, float] = 255.0
    order: Literal["rgb", "bgr"] = "rgb"
    licence: str = "not stated"

    @property
    def own(self) -> bool:
        """Whether the network is the user's."""
        return self.onnx is not None or self.torch is not None or self.tflite is not None


class Goal(_Strict, frozen=True, kw_only=True):
    """A goal file."""

    name: Name
    task: Literal["anomaly", "behaviour", "classify", "detect", "embed"]
    data: Data
    release: Annotated[int, msgspec.Meta(ge=1)] = 1
    device: Device = Device()
    goal: Wish = Wish()
    model: Model = Model()
    recipe: tuple[dict[str, Any], ...] = ()
    """Techniques and their settings, as techniques/ reads them; what is not named is done plainly."""
    augment: Augment | None = None
    """None: `anomaly` varies nothing, `classify` as `Augment` has it."""

    @property
    def searched(self) -> float | None:
        """Seconds that a search for the best design may take, where the recipe names one."""
        search = techniques.load(self.recipe).get("search")
        return None if search is None else duration.seconds(search.time)


def read(path: Path) -> Goal:
    """The goal file at `path`.

    Raises:
        ConfigProblem: it cannot be read, or a key in it is missing, unknown or wrong.
    """
    goal = read_toml(path, Goal, "docs/goal.md")
    if goal.device.profile not in devices.names():
        hint = f"known are {', '.join(devices.names())}"
        raise ConfigProblem(f"{path}: device.profile: unknown {goal.device.profile!r}", hint=hint)
    blocks = goal.model.blocks
    if blocks is not None and len(set(blocks)) < max(len(blocks), 1):
        hint = "name at least one block of 1 to 15, and each once"
        raise ConfigProblem(f"{path}: model.blocks is empty or names a block twice", hint=hint)
    group = goal.data.group or ""
    if not group.lower().endswith(".csv"):
        try:
            re.compile(group)
        except re.error as error:
            hint = "mend the regular expression"
            raise ConfigProblem(f"{path}: data.group: {error}", hint=hint) from None
    task_checks.check(path, goal)
    with written_in(path):
        techniques.load(goal.recipe)
    lists = {"list": goal.data.list, "group": group if group.lower().endswith(".csv") else None}
    for key, name in lists.items():
        if name is not None and not (path.parent / name).is_file():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no file {path.parent / name}", hint=hint)
    for key in ("good", "defect", "mask", "classes", "images", "footage", "abnormal"):
        folder = getattr(goal.data, key)
        if folder and not (path.parent / folder).is_dir():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no folder {path.parent / folder}", hint=hint)
    return goal
