"""What a build does differently for each kind of answer: is anything wrong, what kind of thing is it, or where."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar

from vedette.devices import DeviceProfile
from vedette.runtime.evaluation.verify import Track
from vedette.runtime.plugins import choose

from ..evaluation.built_models import Candidate, Fitted
from ..evaluation.model_runners import Runner
from ..goal.goal_file import Goal
from ..search.study import Effort

TASKS = {
    "anomaly": ".anomaly:Anomaly",
    "behaviour": ".behaviour:behaviour",
    "classify": ".classify:Classify",
    "detect": ".detect:Detect",
    "embed": ".imported:Embed",
}
OWN = {"classify": ".imported:OwnClassify"}  # with a network of the user's


class Images(Protocol):
    """Paths of images, divided; the lists are disjoint."""

    @property
    def fit(self) -> list[Path]: ...
    @property
    def calibrate(self) -> list[Path]: ...
    @property
    def threshold(self) -> list[Path]: ...
    @property
    def test(self) -> list[Path]: ...
    @property
    def audit(self) -> dict[str, Any]: ...


_Images = TypeVar("_Images", bound=Images)
_Line = TypeVar("_Line")
_Seen = TypeVar("_Seen")


class Task(Protocol[_Images, _Line, _Seen]):
    """The steps of build.py, in its order."""

    what: str
    """What is fitted, for people."""

    def divide(self, base: Path, track: Track, say: Callable[[str], None]) -> _Images:
        """The images that the goal file in the folder `base` names.

        Raises:
            ConfigProblem: they are not usable.
        """

    def parts(self, images: _Images) -> dict[str, list[Path]]:
        """Which images are used for what; those that nothing is fitted to are `test` and, where there are, `defect`."""

    def fit(
        self, images: _Images, effort: Effort | None, folder: Path, track: Track, say: Callable[[str], None]
    ) -> Fitted:
        """The models; with an `effort`, of the best design that is found. What takes long goes on from `folder`."""

    def draw(self, candidate: Candidate, images: _Images) -> _Line:
        """Where the line lies, from the int8 answers to the images of `threshold`."""

    def see(self, runners: dict[str, Runner], images: _Images, track: Track) -> dict[str, _Seen]:
        """What each model makes of the test images."""

    def figures(self, seen: dict[str, _Seen], images: _Images, line: _Line) -> dict[str, Any]:
        """What that is worth; the keys are those of the manifest's `measured`."""

    def settings(self, images: _Images, line: _Line) -> dict[str, Any]:
        """Fields of the manifest: the labels, and where the line lies."""

    def examples(self, images: _Images) -> list[Path]:
        """A few test images of every kind."""

    def evidence(self, images: _Images, seen: dict[str, _Seen], line: _Line) -> dict[str, Any]:
        """What the task's own part of the report is filled with.

        `apart` is where float and int8 disagree; `before`, where it is there, the stages before the float model.
        """


def load(goal: Goal, device: DeviceProfile) -> Task[Any, Any, Any]:
    """The task that the goal file names, for that device.

    Raises:
        ConfigProblem: it, or a part that it needs, is not known.
    """
    tables = TASKS | OWN if goal.model.own else TASKS
    task: Task[Any, Any, Any] = choose(__package__, tables, goal.task, "task")(goal, device)
    return task
