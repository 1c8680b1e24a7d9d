"""The model card of a bundle: what it is, and what it costs on the machine that was measured, in Markdown.

The columns are those of the cards that Arm publishes for models on a Raspberry Pi 5 (developer.arm.com/ai/models):
50th, 90th and 99th percentile of the latency, first inference, peak memory, size, accuracy and its loss against float
in percentage points. The YAML before the text is the metadata that Hugging Face reads.
"""

from __future__ import annotations

from typing import Any

from vedette.devices import BenchmarkResult, DeviceProfile

from ..bundle.manifest import Manifest
from ..bundle.model_files import model_member

ACCURACY_TITLES = {"auroc": "AUROC", "accuracy": "accuracy", "map50": "mAP50", "cosine": "cosine similarity to float"}


def render_model_card(manifest: Manifest, profile: DeviceProfile) -> str:
    """The card as Markdown.

    Args:
        manifest: of the bundle
        profile: this machine, with the measurements of the bundle (`benchmark_bundle`)
    """
    metric = next((name for name in ACCURACY_TITLES if f"{name}_int8_onnx" in manifest.measured), None)
    title = ACCURACY_TITLES[metric] if metric else "accuracy"
    header = f"back end | p50 ms | p90 ms | p99 ms | first inference s | peak RAM MB | size MB | {title} float"
    rows = [_row(manifest, each, metric) for each in profile.measured]
    licences = sorted({source.licence for source in manifest.weights})
    (width, height), threads = profile.measured[0].frame, profile.measured[0].threads
    return "\n".join(
        [
            "---",
            f"model_name: {manifest.name}",
            f"license: {', '.join(licences) or 'not stated'}",
            f"tags: [int8, onnx, tflite, {manifest.task}]",
            "---",
            "",
            f"# {manifest.model_id}",
            "",
            f"Task: {manifest.task}. Input: {manifest.input.width} x {manifest.input.height} pixels, int8. "
            f"Goal {'missed' if not manifest.goal_met else 'not proven' if manifest.unproven else 'met'}.",
            "",
            f"Measured on {profile.title} ({profile.cpu}, {profile.cores} cores, {profile.architecture}) with frames "
            f"of {width} x {height} pixels, preprocessing included, threads: {threads}. "
            f"{title[0].upper()}{title[1:]} as the build measured it on held-out images.",
            "",
            f"| {header} | int8 | loss, points |",
            "|" + " --- |" * (header.count("|") + 3),
            *rows,
            "",
            *[
                f"Weights: {each.name} ({each.licence}), {each.origin or 'origin not stated'}."
                for each in manifest.weights
            ],
            *[f"Data: {each.name} ({each.licence})." for each in manifest.data],
            f"Signed by {manifest.signer}.",
            "",
        ]
    )


def _row(manifest: Manifest, result: BenchmarkResult, metric: str | None) -> str:
    size = manifest.files[str(model_member(manifest, result.backend))].bytes / 1e6
    reference = manifest.measured.get(f"{metric}_fp32") if metric else None
    int8 = manifest.measured.get(f"{metric}_int8_{result.backend}") if metric else None
    loss = None if reference is None or int8 is None else 100 * (reference - int8)
    cells = [
        f"{result.backend}, {result.version}",
        *(_number(each, 2) for each in (result.ms, result.p90_ms, result.p99_ms, result.startup_seconds)),
        _number(result.peak_rss_mb, 0),
        _number(size, 2),
        _number(reference, 4),
        _number(int8, 4),
        _number(loss, 2),
    ]
    return f"| {' | '.join(cells)} |"


def _number(value: Any, digits: int) -> str:
    return "-" if value is None else f"{value:.{digits}f}"
