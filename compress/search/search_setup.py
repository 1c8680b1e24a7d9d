"""Set-up of a search: its time, its study database, the device, and the cost limits of the goal."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec

from vedette.devices import DeviceProfile
from vedette.runtime.errors import ConfigProblem

from ..cost import cost_limits
from ..cost.cost_limits import CostLimits
from ..goal.goal_tables import Goal

TRIAL_TIME_SHARE = 0.7  # share of the time for trials; the rest is for the finalists


class SearchSetup(msgspec.Struct, frozen=True):
    """Time, database, device and cost limits of a search."""

    trials_deadline: float
    """When trials end, as time.monotonic()."""
    deadline: float
    """When no further finalist is started, as time.monotonic()."""
    study_url: str
    """Database URL: `sqlite:///PATH` for a single process, or `postgresql://…` for many."""
    folder: Path
    """Folder for the state of the search and of the builds after it; created when the search begins."""
    device: DeviceProfile
    """Target device."""
    limits: CostLimits
    """The most that a design may cost on the device."""

    @classmethod
    def start(cls, goal: Goal, seconds: float, study: str, folder: Path, device: DeviceProfile) -> SearchSetup:
        """The set-up of a search of `seconds` from now on.

        Args:
            goal: the goal file
            seconds: time for trials and finalists
            study: database URL
            folder: folder for the state of the search
            device: the target device

        Raises:
            ConfigProblem: the task cannot be searched, or its search cannot use a shared study.
        """
        if goal.task not in ("anomaly", "detect"):
            hint = "remove --time, or the search from the recipe; a smaller [model] input reduces the cost"
            raise ConfigProblem(f'task = "{goal.task}" cannot be searched, it is built from the goal file', hint=hint)
        if goal.task == "detect" and study != study_url(folder):
            hint = "remove --study and --worker: one process tries a few input sizes"
            raise ConfigProblem('task = "detect" has no study', hint=hint)
        now = time.monotonic()
        return cls(
            now + TRIAL_TIME_SHARE * seconds,
            now + seconds,
            study,
            folder,
            device,
            cost_limits.derive_cost_limits(goal, device),
        )


def study_url(folder: Path) -> str:
    """URL of the SQLite database in a folder."""
    return f"sqlite:///{folder.resolve()}/study.db"


def set_up(
    goal: Goal, seconds: float | None, url: str | None, work_folder: Path, device: DeviceProfile
) -> SearchSetup | None:
    """The search that a build asks for; None if it asks for none.

    Args:
        goal: the goal file
        seconds: time to search; None: as in the goal's recipe
        url: database of the search; None: a file in the work folder
        work_folder: folder for the state of the search
        device: the target device
    """
    seconds = goal.search_seconds if seconds is None else seconds
    if seconds is None:
        return None
    return SearchSetup.start(goal, seconds, url or study_url(work_folder), work_folder, device)
