"""The goal as sliders: its steps, what each asks for, and whether the images can vouch for that."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec

from vedette.runtime.errors import UNREADABLE, ConfigProblem
from vedette.runtime.page.translation import Translation

from .defect_marks import has_marks
from .goal_promises import Promises, count_promises, defective_images_for, good_images_for
from .goal_text import Changes, change_goal
from .keep_list import read_kept
from .workspace import DEFECT, GOOD, KNOWN, MASKS, Workspace

FALSE_ALARM_RATES = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
DETECTION_RATES = (0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.97, 0.99)
AUROCS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.92, 0.94, 0.96, 0.98, 0.99)
SLIDERS = {"false_alarm_rate": FALSE_ALARM_RATES, "min_detection_rate": DETECTION_RATES, "min_auroc": AUROCS}
_FOLDERS = {"good": GOOD, "defect": DEFECT, "known": KNOWN, "mask": MASKS, "list": "keep.csv"}


class SliderStep(msgspec.Struct, frozen=True):
    """A value that a slider can have."""

    value: float
    text: str
    promise: str
    """What the images can prove about it."""
    level: str
    """"good": they can prove it; "watch": they cannot."""


class WantedGoal(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the form sends; None: not asked for."""

    name: str
    profile: str
    false_alarm_rate: float | None = None
    min_detection_rate: float | None = None
    min_auroc: float | None = None
    max_ms: float | None = None


def read_goal_keys(workspace: Workspace) -> dict[str, Any]:
    """The content of the goal file; empty: there is none.

    Raises:
        ConfigProblem: it is no TOML, or a goal that this page cannot show.
    """
    path = workspace.goal_file
    if not path.exists():
        return {}
    try:
        keys = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except UNREADABLE as error:
        raise ConfigProblem(f"{path}: {error}", hint="correct the file in an editor") from None
    hint = "change the file in an editor, and build with vedette build"
    if keys.get("task", "anomaly") != "anomaly":
        raise ConfigProblem(f"{path}: its task is {keys['task']}, and this page is for anomaly", hint=hint)
    data = keys.get("data", {})
    for key, folder in _FOLDERS.items():
        if isinstance(data, dict) and str(data.get(key, folder)).rstrip("/").removeprefix("./") != folder:
            raise ConfigProblem(f"{path}: data.{key} is {data[key]!r}; this page works with {folder}", hint=hint)
    return keys


def count_kept(workspace: Workspace) -> Promises:
    """What the kept images allow to prove."""
    kept = read_kept(workspace)
    good, defective = (
        sum(1 for path in workspace.images(label) if kept is None or workspace.name_of(path) in kept)
        for label in (GOOD, DEFECT)
    )
    return count_promises(good, defective)


def save_wanted(workspace: Workspace, wanted: WantedGoal) -> None:
    """Writes the goal file.

    Raises:
        ConfigProblem: a build would not take it.
    """
    keys = read_goal_keys(workspace)
    goal = {key: getattr(wanted, key) for key in (*SLIDERS, "max_ms")}
    named = {"name": wanted.name} | ({} if "task" in keys else {"task": "anomaly"})
    changes = {"": named, "device": {"profile": wanted.profile}, "goal": goal, **_data_changes(workspace, keys)}
    change_goal(workspace.goal_file, changes)


def follow_folders(workspace: Workspace) -> None:
    """Makes the goal file name the folders, masks and list that there are now.

    Raises:
        ConfigProblem: a build would not take it.
    """
    keys = read_goal_keys(workspace)
    if changes := _data_changes(workspace, keys):
        change_goal(workspace.goal_file, changes)


def _data_changes(workspace: Workspace, keys: dict[str, Any]) -> Changes:
    present = keys.get("data", {})
    has = {
        "good": bool(workspace.images(GOOD)),
        "defect": bool(workspace.images(DEFECT)),
        "known": bool(workspace.images(KNOWN)),
        "mask": has_marks(workspace),
        "list": workspace.keep_file.exists(),
    }
    if not has["good"]:
        raise ConfigProblem("there are no good images yet", hint="add some on the page Images")
    data = {key: _FOLDERS[key] if there else None for key, there in has.items() if there != (key in present)}
    if "test" in present:
        data.pop("defect", None)  # test has its own defective images
    return {"data": data} if data else {}


def describe_steps(key: str, present: float | None, promises: Promises, _: Translation) -> list[SliderStep]:
    """The steps of a slider, with what the images can prove about each.

    Args:
        key: of `[goal]`
        present: the value in the goal file, which is among the steps; None: there is none
        promises: what the images allow
        _: the reader's language
    """
    values = sorted({*SLIDERS[key], *([present] if isinstance(present, float) else [])})
    describe = {
        "false_alarm_rate": _describe_false_alarms,
        "min_detection_rate": _describe_detections,
        "min_auroc": _describe_auroc,
    }[key]
    return [describe(value, promises, _) for value in values]


def _describe_false_alarms(value: float, promises: Promises, _: Translation) -> SliderStep:
    text = _("%(percent)s of the good parts", percent=f"{value:.2%}".replace(".00", ""))
    smallest = promises.smallest_false_alarm_rate
    needed = good_images_for(value)
    if smallest is not None and smallest <= value:
        proven = _("With %(good)s good images of different parts this can be proven.", good=promises.good)
        return SliderStep(value, text, proven, "good")
    if smallest is None:
        least = _("With %(good)s good images no rate can be proven.", good=promises.good)
    else:
        least = _(
            "With %(good)s good images no less than %(percent)s can be proven.",
            good=promises.good,
            percent=f"{smallest:.1%}",
        )
    return SliderStep(value, text, f"{least} " + _("It takes about %(needed)s images.", needed=needed), "watch")


def _describe_detections(value: float, promises: Promises, _: Translation) -> SliderStep:
    text = _("%(percent)s of the defects", percent=f"{value:.0%}")
    largest = promises.largest_detection_rate
    if largest is not None and largest >= value:
        proven = _(
            "With %(count)s defective images this can be proven, if nearly all are found.", count=promises.defective
        )
        return SliderStep(value, text, proven, "good")
    if largest is None:
        least = _("Without defective images nothing can be proven.")
    else:
        least = _(
            "With %(count)s defective images no more than %(percent)s can be proven, even if all are found.",
            count=promises.defective,
            percent=f"{largest:.1%}",
        )
    needed = defective_images_for(value)
    return SliderStep(value, text, f"{least} " + _("It takes at least %(needed)s images.", needed=needed), "watch")


def _describe_auroc(value: float, promises: Promises, _: Translation) -> SliderStep:
    width = promises.auroc_half_width
    if width is None:
        missing = _("It cannot be measured: that takes 20 good images or more, and defective ones.")
        return SliderStep(value, f"{value:.3g}", missing, "watch")
    measured = _(
        "%(good)s good and %(count)s defective test images measure it to about ± %(width)s.",
        good=promises.good_test,
        count=promises.defective,
        width=f"{width:.2f}",
    )
    return SliderStep(value, f"{value:.3g}", measured, "good" if value + width < 1 else "watch")
