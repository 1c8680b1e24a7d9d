"""Whether the tables of a goal file fit its task."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vedette.runtime.errors import ConfigProblem

from . import imported_model_checks

# What only one task understands: said in the goal file of the other, it would be a wish that nobody hears.
_OWN = {
    "anomaly": (
        "data.mask",
        "goal.min_auroc",
        "goal.false_alarm_rate",
        "goal.min_speedup",
        "model.detector",
        "model.blocks",
        "model.rank",
    ),
    "behaviour": ("data.footage", "data.abnormal", "model.spacing"),
    "embed": ("goal.min_cosine",),
    "detect": ("data.labels", "goal.min_map50", "model.family", "model.tflite"),
    "classify": ("data.classes", "data.normal", "goal.min_accuracy", "goal.error_rate", "model.epochs"),
}


# What `behaviour` shares with the others: with footage it is an anomaly, with classes a classifier.
_FOOTAGE = ("goal.min_auroc", "goal.false_alarm_rate")
_CLIPS = ("goal.min_auroc", "data.classes", "data.normal", "goal.error_rate", "model.epochs")


def check(path: Path, goal: Any) -> None:
    """That the `Goal` in the file `path` names images that its task can use, and nothing that only another understands.

    Raises:
        ConfigProblem: it does not.
    """
    data = goal.data
    for task, keys in _OWN.items():
        for table, key in (each.split(".") for each in keys if task != goal.task and not _shared(each, goal)):
            settings = getattr(goal, table)
            if getattr(settings, key) != getattr(type(settings)(), key):
                hint = f'it belongs to task = "{task}"; docs/goal.md lists what belongs to which'
                raise ConfigProblem(f'{path}: {table}.{key} means nothing to task = "{goal.task}"', hint=hint)
    if goal.task == "anomaly" and not data.good:
        raise ConfigProblem(f"{path}: data.good is missing", hint="name the folder with images of good parts")
    imported_model_checks.check(path, goal)
    if goal.task == "behaviour":
        _check_behaviour(path, goal)
        return
    if goal.model.own:
        return
    pair = bool(data.good) and data.defect is not None
    if goal.task == "classify" and (pair == (data.classes is not None) or (data.good and not pair)):
        hint = 'either classes = "DIR", with one sub-folder for each class, or good and defect'
        raise ConfigProblem(f"{path}: [data] does not say what the classes are", hint=hint)


def _shared(key: str, goal: Any) -> bool:
    """A network of one's own is held against its float self, too; behaviour is like an anomaly, or like classes."""
    if key == "goal.min_speedup":
        return bool(goal.task == "detect")
    if goal.task == "behaviour":
        return key in (_FOOTAGE if goal.data.classes is None else _CLIPS)
    return key == "goal.min_cosine" and goal.model.own


def _check_behaviour(path: Path, goal: Any) -> None:
    data = goal.data
    if (data.footage is None) == (data.classes is None) or (data.abnormal is not None and data.footage is None):
        hint = 'either footage = "DIR", normal recordings, perhaps with abnormal = "DIR"; or classes = "DIR"'
        raise ConfigProblem(f"{path}: [data] does not say what is normal", hint=hint)
    for key in ("good", "defect", "list"):
        if getattr(data, key):
            hint = "behaviour is learnt from recordings: footage, abnormal or classes"
            raise ConfigProblem(f'{path}: data.{key} means nothing to task = "behaviour"', hint=hint)
    if goal.augment is not None and data.classes is None:
        hint = "leave it out: footage is taken as it is"
        raise ConfigProblem(f"{path}: [augment] means nothing to footage without labels", hint=hint)
