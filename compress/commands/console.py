"""Console output of the commands: progress on stderr, results on stdout."""

from __future__ import annotations

import time

import click

from vedette.runtime.bundle.manifest import Manifest

from ..build import BuildResult
from ..cost.device_costs import DeviceCosts
from ..device_builds import DeviceBuilds
from ..evaluation.anomaly_scoring import AnomalyMetrics
from ..evaluation.built_models import MODEL_TITLES
from ..evaluation.detection_metrics import DetectionMetrics
from ..evaluation.fidelity import FidelityMetrics
from ..evaluation.results import Results, TaskMetrics
from ..report.verdict import Outcome, Verdict

OUTCOMES: dict[Outcome, str] = {
    "met": "goal met",
    "not proven": "goal NOT PROVEN: nothing is missed, but not everything can be judged",
    "missed": "goal MISSED",
    "no goal": "the goal file sets no goal",
}

_started = time.monotonic()


def log(text: str) -> None:
    """Print a line on stderr, with the seconds since the start."""
    click.echo(f"[{time.monotonic() - _started:5.1f} s] {text}", err=True)


def print_results(results: Results, costs: DeviceCosts) -> None:
    """Print a table of float and int8 models, the costs on the device, and the figures of the task."""
    metrics = results.metrics
    title = metrics.title
    click.echo(f"{'':12} {title:>8} {'95 % interval':>15} {'median ms':>10} {'p95 ms':>8} {'bytes':>10}")
    for model, name in MODEL_TITLES.items():
        value, interval, timing = "-", "-", results.timings[model]
        measurement = metrics.by_model[model]
        if measurement.value is not None and measurement.interval is not None:
            low, high = measurement.interval
            value, interval = f"{measurement.value:.4f}", f"{low:.3f} … {high:.3f}"
        times = f"{timing.median:>10.2f} {timing.p95:>8.2f}"
        click.echo(f"{name:12} {value:>8} {interval:>15} {times} {results.sizes[model]:>10,}")
    steps = results.parity.max_steps
    click.echo(f"int8 ONNX and int8 TFLite differ by at most {steps} integer step{'' if steps == 1 else 's'}")
    for name, prediction in costs.on_device.items():
        click.echo(f"on the device, {name}: {prediction}")
    for line in describe_metrics(metrics):
        click.echo(line)


def describe_metrics(metrics: TaskMetrics) -> list[str]:
    """The figures of the task in words."""
    lines, images = [], metrics.images
    counted = "clips" if metrics.counts_clips else "images"
    if isinstance(metrics, FidelityMetrics):
        lowest = min(each.mean for each in metrics.cosine.values())
        lines.append(f"cosine of the outputs, int8 to float: {lowest:.4f} on average over the test images")
        if metrics.agreement:
            share = min(metrics.agreement.values())
            lines.append(f"the likeliest class is the same for {share:.1%} of the test images")
    if metrics.errors is not None:
        answered, wrong = metrics.errors.total, metrics.errors.count
        lines.append(
            f"{answered} of {images['test']} test {counted} are answered, {wrong} of them wrong; the others are unknown"
        )
    elif isinstance(metrics, DetectionMetrics):
        point = metrics.at_threshold
        lines.append(
            f"{images['test']} test images with {images['test_objects']} objects; "
            f"from a score of {point.threshold:.3f}: precision {point.precision:.3f}, recall {point.recall:.3f}"
        )
    elif isinstance(metrics, AnomalyMetrics):
        alarms, parts = metrics.false_alarms, "clips" if metrics.counts_clips else "parts"
        detected = ""
        if (found := metrics.detections).interval is not None:
            low, high = found.interval
            detected = f", {found.rate:.1%} of the defects are detected (95 % interval {low:.1%} … {high:.1%})"
        lines.append(f"at the threshold {alarms.count} of {alarms.total} good {parts} raise an alarm{detected}")
        if metrics.no_better_than_chance:
            lines.append("the model is useless at this threshold: it flags defects hardly more often than good parts")
    return lines


def print_build(result: BuildResult) -> None:
    """Print the figures, the verdict and the files of a build."""
    print_results(result.results, result.costs)
    for name, reason in result.manifest.floats.items():
        click.echo(f"the file for {name} computes in float: {reason}")
    print_verdict(result.verdict)
    if result.comparison is not None:
        click.echo(result.comparison.statement)
    click.echo(f"review  {len(result.review.findings)} findings, the most severe one {result.review.severity}")
    for line in _describe_compiled(result.manifest):
        click.echo(line)
    click.echo(f"bundle  {result.bundle}\nreport  {result.report}")


def print_device_builds(built: DeviceBuilds) -> None:
    """Print the bundles of several devices: figures, costs there, and what the goal misses."""
    comparison = built.comparison
    metrics = comparison.devices[0].results.metrics
    click.echo(
        f"{'':16} {'goal':12} {metrics.title:>8} {'95 % interval':>15} {'false alarms':>13} {'found':>9} {'bytes':>10}"
    )
    for each in comparison.devices:
        value, interval = "-", "-"
        if each.metric.value is not None and each.metric.interval is not None:
            value, (low, high) = f"{each.metric.value:.4f}", each.metric.interval
            interval = f"{low:.3f} … {high:.3f}"
        alarms, found = (
            "-" if counted is None or not counted.total else f"{counted.count} of {counted.total}"
            for counted in (each.results.metrics.false_alarms, each.detections)
        )
        outcome = each.verdict.outcome
        figures = f"{value:>8} {interval:>15} {alarms:>13} {found:>9} {each.bytes:>10,}"
        click.echo(f"{each.name:16} {outcome.upper() if outcome == 'missed' else outcome:12} {figures}")
    for each in comparison.devices:
        same = comparison.same_model_as(each)
        click.echo(f"{each.name}: {each.design}{f', the same model files as for {same}' if same else ''}")
        for name, prediction in each.costs.on_device.items():
            click.echo(f"  on the device, {name}: {prediction}")
        if not each.costs.on_device:
            click.echo("  on the device: nothing is known; vedette bench on one measures it")
        for sentence in each.verdict.missed:
            click.echo(f"  MISSED {sentence}")
        for sentence in each.verdict.unproven:
            click.echo(f"  {sentence}")
        for line in _describe_compiled(each.manifest):
            click.echo(f"  {line}")
        click.echo(f"  bundle  {built.results[each.name].bundle}")
    click.echo(f"report  {built.page}")


def _describe_compiled(manifest: Manifest) -> list[str]:
    return [
        f"for {name}: {each.file}, {manifest.files[each.file].bytes:,} bytes, by {each.tool}; "
        "no golden output was compared here"
        for name, each in manifest.compiled.items()
    ]


def print_verdict(verdict: Verdict) -> None:
    """Print each wish of the goal, what was found, and whether that is enough."""
    click.echo(OUTCOMES[verdict.outcome])
    for judgement in verdict.judgements:
        mark = {True: "ok", False: "MISSED", None: "not proven"}[judgement.met]
        text = str(judgement).replace(f", {mark}: ", ": ", 1)  # said once
        click.echo(f"  {mark:10} {text}")
