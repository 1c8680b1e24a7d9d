"""What is asked for: the goal file, and the verdict on what came of it."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from vedette import devices
from vedette.runtime.config import Name
from vedette.runtime.config import read as read_toml
from vedette.runtime.problem import ConfigProblem

_Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
_Positive = Annotated[float, msgspec.Meta(gt=0)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Data(_Strict, frozen=True, kw_only=True):
    """`[data]`: folders, relative to the goal file."""

    good: str
    defect: str | None = None
    """Never used to fit an anomaly model, only to measure it."""
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
    max_drop: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """AUROC that the int8 models may lose against the float model on the same test images."""
    max_ms: _Positive | None = None
    """Milliseconds: 95th percentile of one frame, preprocessing included."""
    max_bytes: Annotated[int, msgspec.Meta(gt=0)] | None = None
    """Bytes of each int8 file."""
    false_alarm_rate: _Share | None = None
    """Share of good parts that may raise an event."""


class Model(_Strict, frozen=True):
    """`[model]`"""

    detector: str = "padim"
    input: Annotated[int, msgspec.Meta(ge=64, le=1024, multiple_of=32)] = 224
    """Pixels; images are scaled to a square of it."""
    blocks: tuple[Annotated[int, msgspec.Meta(ge=1, le=15)], ...] = (2, 4, 10)
    """Blocks of the backbone whose features are looked at."""


class Goal(_Strict, frozen=True, kw_only=True):
    """A goal file."""

    name: Name
    task: Literal["anomaly"]
    data: Data
    release: Annotated[int, msgspec.Meta(ge=1)] = 1
    device: Device = Device()
    goal: Wish = Wish()
    model: Model = Model()


def read(path: Path) -> Goal:
    """The goal file at `path`.

    Raises:
        ConfigProblem: it cannot be read, or a key in it is missing, unknown or wrong.
    """
    goal = read_toml(path, Goal, "docs/goal.md")
    if goal.device.profile not in devices.names():
        hint = f"known are {', '.join(devices.names())}"
        raise ConfigProblem(f"{path}: device.profile: unknown {goal.device.profile!r}", hint=hint)
    if not goal.model.blocks or len(set(goal.model.blocks)) < len(goal.model.blocks):
        hint = "name at least one block of 1 to 15, and each once"
        raise ConfigProblem(f"{path}: model.blocks is empty or names a block twice", hint=hint)
    group = goal.data.group or ""
    if not group.lower().endswith(".csv"):
        try:
            re.compile(group)
        except re.error as error:
            hint = "mend the regular expression"
            raise ConfigProblem(f"{path}: data.group: {error}", hint=hint) from None
    lists = {"list": goal.data.list, "group": group if group.lower().endswith(".csv") else None}
    for key, name in lists.items():
        if name is not None and not (path.parent / name).is_file():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no file {path.parent / name}", hint=hint)
    for key in ("good", "defect", "mask"):
        folder = getattr(goal.data, key)
        if folder is not None and not (path.parent / folder).is_dir():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no folder {path.parent / folder}", hint=hint)
    return goal


class Judgement(msgspec.Struct, frozen=True):
    """One wish held against what was found."""

    goal: str
    asked: float
    found: float | None
    met: bool | None
    """None: it could not be judged here."""
    why: str = ""
    """More than the numbers say, or why there is no judgement."""

    def __str__(self) -> str:
        if self.met is None or self.found is None:
            return f"{self.goal}: asked {_number(self.asked)}, not proven: {self.why}"
        text = f"{self.goal}: asked {_number(self.asked)}, found {_number(self.found)}"
        if not self.met:
            text += f", missed by {_number(abs(self.found - self.asked))}"
        return f"{text} ({self.why})" if self.why else text


class Verdict(msgspec.Struct, frozen=True):
    """Whether the goal is met."""

    judgements: tuple[Judgement, ...]

    @property
    def met(self) -> bool:
        return not self.missed

    @property
    def missed(self) -> tuple[str, ...]:
        """One sentence for each wish missed: which, and by how much."""
        return tuple(str(each) for each in self.judgements if each.met is False)

    @property
    def unproven(self) -> tuple[str, ...]:
        """One sentence for each wish that could not be judged, and why."""
        return tuple(str(each) for each in self.judgements if each.met is None)


def judge(goal: Goal, measured: dict[str, Any]) -> Verdict:
    """Holds the figures of the int8 models, the worse of the two files each time, against the goal.

    Milliseconds are those of the faster file, for that is the one that the device will choose. A share of false alarms
    is counted on few images and so is uncertain: it is missed only where the count would be unlikely (under 5 %) if the
    true share were the wished one.
    """
    wish = goal.goal
    worst, drop = None, None
    if measured["auroc_fp32"] is not None:
        worst = min(measured["auroc_int8_onnx"], measured["auroc_int8_tflite"])
        drop = measured["auroc_fp32"] - worst
    fastest = min(measured["p95_ms_int8_onnx"], measured["p95_ms_int8_tflite"])
    largest = max(measured["bytes_int8_onnx"], measured["bytes_int8_tflite"])
    alarms, images = measured["false_alarms"], measured["images"]["test_good"]

    judgements = []
    no_defects = "there are no defective images to measure it with (data.defect)"
    if wish.min_auroc is not None:
        met = None if worst is None else worst >= wish.min_auroc
        judgements.append(Judgement("min_auroc", wish.min_auroc, worst, met, no_defects if worst is None else ""))
    if wish.max_drop is not None:
        met = None if drop is None else drop <= wish.max_drop
        judgements.append(Judgement("max_drop", wish.max_drop, drop, met, no_defects if drop is None else ""))
    if wish.max_ms is not None and goal.device.profile == "host":
        judgements.append(Judgement("max_ms", wish.max_ms, fastest, fastest <= wish.max_ms, "p95, on this machine"))
    elif wish.max_ms is not None:
        why = f"it was measured on the machine that built the bundle, which is not a {goal.device.profile}"
        judgements.append(Judgement("max_ms", wish.max_ms, None, None, why))
    if wish.max_bytes is not None:
        judgements.append(Judgement("max_bytes", wish.max_bytes, largest, largest <= wish.max_bytes))
    if wish.false_alarm_rate is not None:
        met = _at_least(alarms, images, wish.false_alarm_rate) >= 0.05
        why = f"{alarms} of {images} good test images"
        if met and alarms / images > wish.false_alarm_rate:
            why += ", too few to tell this from what was asked"
        judgements.append(Judgement("false_alarm_rate", wish.false_alarm_rate, alarms / images, met, why))
    return Verdict(tuple(judgements))


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4g}"


def _at_least(count: int, trials: int, share: float) -> float:
    """The probability of `count` or more successes in `trials` of probability `share`."""
    return 1 - sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count))
