"""What is asked for: the goal file, and the verdict on what came of it."""

from __future__ import annotations

import re
from math import comb
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from vedette import devices
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
    group: str | None = None
    """Regular expression on the path below the folder; images whose first group (or match) is equal stay together."""
    seed: int = 0
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

    name: Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9_.-]+$")]
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
    goal = read_toml(path, Goal)
    if goal.device.profile not in devices.names():
        hint = f"known are {', '.join(devices.names())}"
        raise ConfigProblem(f"{path}: device.profile: unknown {goal.device.profile!r}", hint=hint)
    if not goal.model.blocks:
        raise ConfigProblem(f"{path}: model.blocks is empty", hint="name at least one block of 1 to 15")
    if goal.data.group is not None:
        try:
            re.compile(goal.data.group)
        except re.error as error:
            hint = "mend the regular expression"
            raise ConfigProblem(f"{path}: data.group: {error}", hint=hint) from None
    for key in ("good", "defect", "mask"):
        folder = getattr(goal.data, key)
        if folder is not None and not (path.parent / folder).is_dir():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no folder {path.parent / folder}", hint=hint)
    return goal


class Verdict(msgspec.Struct, frozen=True):
    """Whether the goal is met."""

    met: bool
    missed: tuple[str, ...]
    """One sentence for each goal missed: which, and by how much."""
    unproven: tuple[str, ...]
    """One sentence for each goal that could not be judged here."""


def judge(goal: Goal, measured: dict[str, Any]) -> Verdict:
    """Holds the figures of both int8 models against the goal.

    A share of false alarms is counted on few images and so is uncertain: it is missed only where the count would be
    unlikely (under 5 %) if the true share were the wished one.
    """
    wish = goal.goal
    missed, unproven = [], []
    accuracies = [measured["auroc_int8_onnx"], measured["auroc_int8_tflite"]]
    if measured["auroc_fp32"] is None:
        asked = [key for key in ("min_auroc", "max_drop") if getattr(wish, key) is not None]
        unproven += [f"{key}: there are no defective images to measure it with (data.defect)" for key in asked]
    else:
        worst = min(accuracies)
        if wish.min_auroc is not None and worst < wish.min_auroc:
            missed.append(f"min_auroc: {worst:.4f}, wanted {wish.min_auroc}, short by {wish.min_auroc - worst:.4f}")
        drop = measured["auroc_fp32"] - worst
        if wish.max_drop is not None and drop > wish.max_drop:
            missed.append(f"max_drop: {drop:.4f}, allowed {wish.max_drop}, over by {drop - wish.max_drop:.4f}")
    if wish.max_ms is not None:
        if goal.device.profile != "host":
            unproven.append(f"max_ms: measured on this machine only, which is not a {goal.device.profile}")
        else:
            fastest = min(measured["p95_ms_int8_onnx"], measured["p95_ms_int8_tflite"])
            if fastest > wish.max_ms:
                missed.append(
                    f"max_ms: {fastest:.2f} ms, allowed {wish.max_ms}, over by {fastest - wish.max_ms:.2f} ms"
                )
    if wish.max_bytes is not None:
        largest = max(measured["bytes_int8_onnx"], measured["bytes_int8_tflite"])
        if largest > wish.max_bytes:
            missed.append(f"max_bytes: {largest}, allowed {wish.max_bytes}, over by {largest - wish.max_bytes}")
    if wish.false_alarm_rate is not None:
        alarms, images = measured["false_alarms"], measured["images"]["test_good"]
        if _at_least(alarms, images, wish.false_alarm_rate) < 0.05:
            rate = alarms / images
            over = rate - wish.false_alarm_rate
            missed.append(
                f"false_alarm_rate: {rate:.4f} ({alarms} of {images}), over {wish.false_alarm_rate} by {over:.4f}"
            )
    return Verdict(met=not missed, missed=tuple(missed), unproven=tuple(unproven))


def _at_least(count: int, trials: int, share: float) -> float:
    """The probability of `count` or more successes in `trials` of probability `share`."""
    return 1 - sum(comb(trials, k) * share**k * (1 - share) ** (trials - k) for k in range(count))
