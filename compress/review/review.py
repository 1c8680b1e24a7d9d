"""The review: every check, in order, on one subject.

graph           what the model files hold (graph_checks.py)
resources       memory and multiplications against the device (resource_checks.py)
provenance      licences and digests (provenance_checks.py)
quantization    int8 against float, with triggers (quantization_behavior.py)
robustness      metric and false alarms under corruptions (robustness.py)
attack          a search with few queries (square_attack.py)

The checks that run models need images, and models whose graph holds nothing foreign: if the first check finds something
`high`, no model runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from ..evaluation.results import METRIC_TITLES
from . import robustness
from .finding import Finding, Review, RobustnessRow, sort_findings
from .graph_checks import check_graphs
from .provenance_checks import check_provenance
from .quantization_behavior import screen_quantization
from .resource_checks import check_resources
from .square_attack import attack_findings
from .subject import Subject


class ModelReview(msgspec.Struct, frozen=True):
    """The findings about the models themselves, on whatever device they run."""

    graphs: tuple[Finding, ...]
    behavior: tuple[Finding, ...] = ()
    """What the models do; empty if the graphs hold something foreign."""
    robustness: tuple[RobustnessRow, ...] = ()
    images: int = 0
    """Number of images that the models ran on."""
    seconds: float = 0.0

    @property
    def is_foreign(self) -> bool:
        """Whether the graphs hold something for which no model may run."""
        return any(each.severity == "high" for each in self.graphs)


def review_models(subject: Subject, graphs: Sequence[Finding] | None = None) -> ModelReview:
    """Run the checks that do not depend on the device.

    Args:
        subject: the bundle, its models and images
        graphs: the findings of the first check, if it was made before the models were loaded
    """
    started = time.monotonic()
    found = ModelReview(tuple(check_graphs(subject.manifest, subject.members) if graphs is None else graphs))
    if found.is_foreign:
        return msgspec.structs.replace(found, seconds=time.monotonic() - started)
    if subject.manifest.motion is not None:
        why = "the model sees differences of frames, to which these corruptions and triggers do not apply"
        untested = Finding("info", "robustness", f"not measured: {why}", "task behaviour", "nothing")
        return msgspec.structs.replace(found, behavior=(untested,), seconds=time.monotonic() - started)
    quantization = list(screen_quantization(subject))
    rows = robustness.measure_robustness(subject)
    behavior = (*quantization, *robustness.robustness_findings(subject, rows), *attack_findings(subject))
    images = min(len(subject.images.paths), subject.effort.robustness_images)
    return ModelReview(found.graphs, behavior, tuple(rows), images, time.monotonic() - started)


def review_subject(subject: Subject, model_id: str, models: ModelReview) -> Review:
    """Run the checks that depend on the device, and join their findings with those about the models.

    Args:
        subject: the bundle, its models and images
        model_id: for the heading
        models: the findings about the models (`review_models`)
    """
    started = time.monotonic()
    found = list(models.graphs)
    if not models.is_foreign:
        found += [*check_resources(subject), *check_provenance(subject), *models.behavior]
    runs = not models.is_foreign and subject.manifest.motion is None
    task = subject.manifest.task if runs else ""
    key = robustness.METRICS.get(task, "")
    return Review(
        bundle=model_id,
        findings=sort_findings(found),
        metric=METRIC_TITLES.get(key, key),
        false_alarm=robustness.FALSE_ALARMS.get(task, ""),
        robustness=models.robustness,
        images=models.images,
        seconds=models.seconds + time.monotonic() - started,
    )
