"""The tasks of a build: each answers another question about an image.

anomaly     is anything wrong?
behaviour   does someone behave abnormally? Without labels, or as a classifier of labelled clips
classify    what kind of thing is it?
detect      which objects are where? With an imported detector
embed       a vector for each image, from an imported network
"""

from __future__ import annotations

from typing import Any

from vedette.devices import DeviceProfile
from vedette.runtime.plugin_tables import load_plugin

from ..goal.goal_tables import Goal
from ..goal.recipe import load_recipe
from .task import Task

TASKS = {
    "anomaly": ".anomaly:AnomalyTask",
    "behaviour": ".behaviour:MotionAnomalyTask",
    "classify": ".classify:ClassificationTask",
    "detect": ".detect:DetectionTask",
    "embed": ".imported:ImportedEmbedding",
}
WITH_CLASSES = {"behaviour": ".behaviour_classification:ClipClassificationTask"}
"""What replaces an entry of `TASKS` if the goal file names `data.classes`."""
WITH_IMPORTED_NETWORK = {"classify": ".imported_classification:ImportedClassification"}
"""What replaces an entry of `TASKS` if `[model]` names an imported network."""
WITH_TRAINING = {"detect": ".trained_detection:TrainedDetectionTask"}
"""What replaces an entry of `TASKS` if the recipe has `use = "train"`."""


def load(goal: Goal, device: DeviceProfile) -> Task[Any, Any, Any, Any]:
    """The task that the goal file names, for the target device.

    Raises:
        ConfigProblem: the task, or a part that it needs, is not known.
    """
    table = TASKS
    if goal.data.classes is not None:
        table = table | WITH_CLASSES
    if goal.model.is_imported:
        table = table | WITH_IMPORTED_NETWORK
    if "train" in load_recipe(goal.recipe):
        table = table | WITH_TRAINING
    task: Task[Any, Any, Any, Any] = load_plugin(__package__, table, goal.task, "task")(goal, device)
    return task
