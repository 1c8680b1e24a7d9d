"""`[data] privacy`: zones that are black in every image of a build, as they are on the device."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from vedette.runtime.camera import image_files
from vedette.runtime.camera.privacy_warnings import FITTED_ZONES

from ..goal import goal_reader
from ..goal.goal_tables import Goal

_ResultT = TypeVar("_ResultT")


def with_black_zones(work: Callable[..., _ResultT]) -> Callable[..., _ResultT]:
    """Runs a build with the privacy zones of its goal file; its first argument is the goal file or has it."""

    @functools.wraps(work)
    def run(first: Any, *arguments: Any, **options: Any) -> _ResultT:
        path: Path = getattr(first, "goal_file", first)
        with image_files.black_zones(goal_reader.read_goal(path).data.privacy):
            return work(first, *arguments, **options)

    return run


def manifest_fields(goal: Goal) -> dict[str, Any]:
    """The zones under their key in `measured`, by which a device knows that its own are those of the build."""
    return {FITTED_ZONES: goal.data.privacy} if goal.data.privacy else {}
