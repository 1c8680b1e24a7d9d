"""The report of a build: the verdict first, then figures, charts and sample images. One file that fetches nothing."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import msgspec

from vedette.runtime.bundle.manifest import Manifest

from ..cost import cost_limits
from ..cost.device_costs import DeviceCosts
from ..evaluation.built_models import MODEL_TITLES
from ..evaluation.release_comparison import ReleaseComparison
from ..evaluation.results import Results
from ..models.image_size import describe
from ..quantization.layer_errors import LayerErrors
from ..quantization.step_log import QuantizationStep
from ..review.finding import Review
from .compression_steps import CompressionStep
from .task_report_section import TaskReportSection
from .verdict import Verdict


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the report."""

    manifest: Manifest
    verdict: Verdict
    results: Results
    costs: DeviceCosts
    compression_steps: list[CompressionStep]
    quantization_steps: tuple[QuantizationStep, ...]
    layer_errors: LayerErrors
    review: Review
    context: TaskReportSection
    comparison: ReleaseComparison | None = None
    """With the previous release; None: there is none."""


def render_html(report: Report) -> bytes:
    """The page `report.html`, self-contained."""
    template = _templates().get_template(report.context.template)
    variables = {
        "manifest": report.manifest,
        "verdict": report.verdict,
        "measured": report.manifest.measured,
        "model_titles": MODEL_TITLES,
        "metric": report.results.metrics.title,
        "cost_unit": cost_limits.cost_unit(report.costs.device),
        "on_device": report.costs.on_device,
        "compression_steps": report.compression_steps,
        "quantization_steps": report.quantization_steps,
        "layer_errors": report.layer_errors,
        "review": report.review,
        "comparison": report.comparison,
        "section": report.context.disagreement,
    }
    return template.render(**(variables | report.context.variables)).encode()


def render_page(template: str, **variables: Any) -> bytes:
    """A page of its own, self-contained.

    Args:
        template: file in `templates/`
        variables: of the template
    """
    return _templates().get_template(template).render(**variables).encode()


def render_review(review: Review) -> bytes:
    """A page with a review alone, self-contained."""
    return render_page("review_page.html", review=review)


def render_json(report: Report, images: dict[str, list[Path]], audit: dict[str, Any], base: Path) -> bytes:
    """`report.json`: the content of the page for programs, and the purpose of each image.

    Args:
        report: content of the report
        images: paths of the images by purpose
        audit: summary of the image audit
        base: folder of the goal file; paths below it are written relative to it
    """
    manifest = report.manifest
    content = {
        "name": manifest.name,
        "release": manifest.release,
        "device": manifest.device,
        "goal": manifest.goal,
        "verdict": report.verdict.outcome,
        "goal_met": manifest.goal_met,
        "missed": manifest.missed,
        "unproven": manifest.unproven,
        "threshold": manifest.threshold,
        **manifest.measured,
        **({"thresholds": report.context.thresholds} if report.context.thresholds else {}),
        **({"doubtful_boxes": report.context.doubtful_boxes} if report.context.doubtful_boxes else {}),
        "stages": report.compression_steps,
        "steps": report.quantization_steps,
        "noise": report.layer_errors,
        "review": report.review.to_json(),
        "disagreement": report.context.disagreement.disagreement.report_fields(lambda path: display_path(path, base)),
        **({} if report.comparison is None else {"comparison": report.comparison.to_json()}),
        "tools": manifest.tools,
        "split": {purpose: [display_path(path, base) for path in paths] for purpose, paths in images.items()},
        "audit": audit,
    }
    return msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n"


def display_path(path: Path, base: Path) -> str:
    """The path relative to the goal file: the report names no folder of this machine."""
    return path.relative_to(base).as_posix() if path.is_relative_to(base) else f"{path.parent.name}/{path.name}"


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: (files(__package__) / "templates" / name).read_text()),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["thousands"] = lambda number: f"{number:,}".replace(",", "\u202f")
    environment.filters["pixels"] = lambda size: describe(size if isinstance(size, int) else tuple(size))
    return environment
