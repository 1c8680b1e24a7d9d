"""Reads and checks a goal file."""

from __future__ import annotations

import re
from pathlib import Path

from vedette import devices
from vedette.runtime.config.polygon import describe_polygon_error
from vedette.runtime.config.toml_file import read_toml
from vedette.runtime.errors import ConfigProblem, locate_errors

from . import task_checks
from .goal_tables import Goal
from .recipe import load_recipe


def read_goal(path: Path) -> Goal:
    """Reads and checks the goal file at `path`.

    Raises:
        ConfigProblem: the file cannot be read, or a key is missing, unknown or wrong.
    """
    goal = read_toml(path, Goal, "docs/goal.md")
    if goal.device.profile not in devices.profile_names():
        hint = f"known are {', '.join(devices.profile_names())}"
        raise ConfigProblem(f"{path}: device.profile: unknown {goal.device.profile!r}", hint=hint)
    blocks = goal.model.blocks
    if blocks is not None and len(set(blocks)) < max(len(blocks), 1):
        hint = "name at least one block from 1 to 15, and each once"
        raise ConfigProblem(f"{path}: model.blocks is empty or names a block twice", hint=hint)
    group = goal.data.group or ""
    if not group.lower().endswith(".csv"):
        try:
            re.compile(group)
        except re.error as error:
            hint = "correct the regular expression"
            raise ConfigProblem(f"{path}: data.group: {error}", hint=hint) from None
    task_checks.check_task(path, goal)
    for key, polygon in goal.inspect.polygons().items():
        if fault := describe_polygon_error(polygon):
            hint = "give the corners in order, as [x, y] from 0 to 1"
            raise ConfigProblem(f"{path}: inspect.{key}: {fault}", hint=hint)
    if len(goal.inspect.polygons()) < len(goal.inspect.areas):
        raise ConfigProblem(f"{path}: inspect.areas: two have the same name", hint="give each a name of its own")
    with locate_errors(path):
        load_recipe(goal.recipe)
    lists = {
        "list": goal.data.list,
        "score_log": goal.data.score_log,
        "group": group if group.lower().endswith(".csv") else None,
    }
    for key, name in lists.items():
        if name is not None and not (path.parent / name).is_file():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no file {path.parent / name}", hint=hint)
    if goal.data.test is not None and not (path.parent / goal.data.test / "good").is_dir():
        hint = "the folder of data.test has a subfolder good and, optionally, a subfolder defect"
        raise ConfigProblem(f"{path}: data.test: no folder {path.parent / goal.data.test / 'good'}", hint=hint)
    for key in ("good", "defect", "known", "corrections", "mask", "classes", "images", "footage", "abnormal"):
        folder = getattr(goal.data, key)
        if folder and not (path.parent / folder).is_dir():
            hint = "paths are relative to the goal file"
            raise ConfigProblem(f"{path}: data.{key}: no folder {path.parent / folder}", hint=hint)
    return goal
