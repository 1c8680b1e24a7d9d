"""Checks that the tables of a goal file fit its task."""

from __future__ import annotations

from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from . import imported_model_checks
from .goal_tables import Goal

# Keys of a single task. In the goal file of another task they have no effect, so they are errors.
_KEYS_OF_TASK = {
    "anomaly": (
        "data.known",
        "data.corrections",
        "data.score_log",
        "data.mask",
        "data.pictures",
        "data.test",
        "goal.min_auroc",
        "goal.false_alarm_rate",
        "goal.min_detection_rate",
        "goal.min_speedup",
        "model.detector",
        "model.blocks",
        "model.rank",
        "model.references",
        "inspect.region",
        "inspect.align",
        "inspect.areas",
    ),
    "behaviour": ("data.footage", "data.abnormal", "model.spacing"),
    "embed": ("goal.min_cosine",),
    "detect": ("data.labels", "goal.min_map50", "model.family", "model.boxes", "model.tflite"),
    "classify": ("data.classes", "data.normal", "goal.min_accuracy", "goal.error_rate", "model.epochs"),
}

PRIVACY_TASKS = ("anomaly", "classify", "embed")

# Keys that `behaviour` shares with `anomaly` (if it has footage) or with `classify` (if it has classes).
_VIDEO_KEYS = ("goal.min_auroc", "goal.false_alarm_rate", "goal.min_detection_rate")
_CLIP_KEYS = ("goal.min_auroc", "data.classes", "data.normal", "goal.error_rate", "model.epochs")


def check_task(path: Path, goal: Goal) -> None:
    """Checks that a goal names the images that its task needs, and that all its keys belong to its task.

    Args:
        path: the goal file, for messages and as the base of relative paths
        goal: its content

    Raises:
        ConfigProblem: images are missing, or a key belongs to another task.
    """
    data = goal.data
    for task, keys in _KEYS_OF_TASK.items():
        if task == goal.task:
            continue
        for table, key in (name.split(".") for name in keys if not _is_shared_key(name, goal)):
            settings = getattr(goal, table)
            if getattr(settings, key) != getattr(type(settings)(), key):
                hint = f'it belongs to task = "{task}"; docs/goal.md lists the keys of each task'
                raise ConfigProblem(f'{path}: {table}.{key} does not apply to task = "{goal.task}"', hint=hint)
    if goal.task == "anomaly" and not data.good:
        raise ConfigProblem(f"{path}: data.good is missing", hint="name the folder with images of good parts")
    if goal.model.references and goal.model.detector != "golden":
        hint = 'write detector = "golden", or leave model.references out'
        raise ConfigProblem(f'{path}: model.references belongs to detector = "golden"', hint=hint)
    if data.privacy and goal.task not in PRIVACY_TASKS:
        hint = f"leave it out: only {', '.join(PRIVACY_TASKS)} are fitted to images with black zones"
        raise ConfigProblem(f'{path}: data.privacy does not apply to task = "{goal.task}"', hint=hint)
    if data.test is not None and data.defect is not None:
        hint = "put all defective test images into the folder defect of data.test, or leave data.test out"
        raise ConfigProblem(f"{path}: data.defect and data.test both name test images", hint=hint)
    rectangle = goal.task == "detect" and goal.model.input != "auto"
    if goal.task != "anomaly" and goal.model.input not in (None, goal.model.side) and not rectangle:
        hint = 'only task = "anomaly" and "detect" take another input than a square: give its side in pixels'
        raise ConfigProblem(f'{path}: model.input does not apply to task = "{goal.task}" like this', hint=hint)
    imported_model_checks.check_model_keys(path, goal)
    if goal.task == "behaviour":
        _check_behaviour(path, goal)
        return
    if goal.model.is_imported:
        return
    good_and_defect = bool(data.good) and data.defect is not None
    if goal.task == "classify" and (
        good_and_defect == (data.classes is not None) or (data.good and not good_and_defect)
    ):
        hint = 'either classes = "DIR", with one subfolder for each class, or good and defect'
        raise ConfigProblem(f"{path}: [data] does not say what the classes are", hint=hint)


def _is_shared_key(key: str, goal: Goal) -> bool:
    """Returns whether a key of another task also applies to this goal.

    A build also compares an imported network with its float version. `behaviour` shares keys with `anomaly` or
    `classify`.
    """
    if key == "goal.min_speedup":
        return goal.task == "detect"
    if goal.task == "behaviour":
        return key in (_VIDEO_KEYS if goal.data.classes is None else _CLIP_KEYS)
    return key == "goal.min_cosine" and goal.model.is_imported


def _check_behaviour(path: Path, goal: Goal) -> None:
    data = goal.data
    if (data.footage is None) == (data.classes is None) or (data.abnormal is not None and data.footage is None):
        hint = 'either footage = "DIR" (normal recordings), optionally with abnormal = "DIR"; or classes = "DIR"'
        raise ConfigProblem(f"{path}: [data] does not say what is normal", hint=hint)
    for key in ("good", "defect", "list"):
        if getattr(data, key):
            hint = "behaviour is learned from recordings: footage, abnormal or classes"
            raise ConfigProblem(f'{path}: data.{key} does not apply to task = "behaviour"', hint=hint)
    if goal.augment is not None and data.classes is None:
        hint = "leave it out: footage is not augmented"
        raise ConfigProblem(f"{path}: [augment] does not apply to footage without labels", hint=hint)
