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

from ..evaluation.results import METRIC_TITLES
from . import robustness
from .finding import Finding, Review, sort_findings
from .graph_checks import check_graphs
from .provenance_checks import check_provenance
from .quantization_behavior import screen_quantization
from .resource_checks import check_resources
from .square_attack import attack_findings
from .subject import Subject


def review_subject(subject: Subject, model_id: str, graphs: Sequence[Finding] | None = None) -> Review:
    """Run every check.

    Args:
        subject: the bundle, its models and images
        model_id: for the heading
        graphs: the findings of the first check, if it was made before the models were loaded
    """
    started = time.monotonic()
    found = list(check_graphs(subject.manifest, subject.members) if graphs is None else graphs)
    if any(each.severity == "high" for each in found):
        return Review(bundle=model_id, findings=sort_findings(found), seconds=time.monotonic() - started)
    found += [*check_resources(subject), *check_provenance(subject)]
    manifest = subject.manifest
    if manifest.motion is not None:
        why = "the model sees differences of frames, to which these corruptions and triggers do not apply"
        found.append(Finding("info", "robustness", f"not measured: {why}", "task behaviour", "nothing"))
        return Review(bundle=model_id, findings=sort_findings(found), seconds=time.monotonic() - started)
    found += screen_quantization(subject)
    rows = robustness.measure_robustness(subject)
    found += robustness.robustness_findings(subject, rows)
    found += attack_findings(subject)
    key = robustness.METRICS.get(manifest.task, "")
    return Review(
        bundle=model_id,
        findings=sort_findings(found),
        metric=METRIC_TITLES.get(key, key),
        false_alarm=robustness.FALSE_ALARMS.get(manifest.task, ""),
        robustness=tuple(rows),
        images=min(len(subject.images.paths), subject.effort.robustness_images),
        seconds=time.monotonic() - started,
    )
