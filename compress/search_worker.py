"""A process that takes part in a search which other processes keep in a shared database."""

from __future__ import annotations

from pathlib import Path

from vedette.devices import DeviceProfile
from vedette.runtime.errors import ConfigProblem, locate_errors
from vedette.runtime.progress import Log, Progress, no_log, no_progress

from . import tasks
from .build import read_goal
from .data.privacy_zones import with_black_zones
from .search.search_setup import SearchSetup
from .tasks.task import SearchableTask


@with_black_zones
def run_search_worker(
    goal_file: Path,
    study_url: str,
    seconds: float,
    profile: DeviceProfile | None = None,
    progress: Progress = no_progress,
    log: Log = no_log,
) -> None:
    """Take part in a search that other processes keep in the database `study_url`, and write nothing else.

    The processes share a study only if their goal files, images and devices are the same.

    Raises:
        ConfigProblem: as `build`, or the task has no search that processes can share.
    """
    goal, device = read_goal(goal_file, profile)
    with locate_errors(goal_file):
        setup = SearchSetup.start(goal, seconds, study_url, goal_file.parent, device)
        task = tasks.load(goal, device)
        if not isinstance(task, SearchableTask):
            hint = "leave --worker out"
            raise ConfigProblem(f'task = "{goal.task}" has no search that processes can share', hint=hint)
        task.search(task.split(goal_file.parent, progress, log), setup, progress, log)
