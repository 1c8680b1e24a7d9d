"""What the workshop's verbs show: steps on stderr, figures on stdout."""

from __future__ import annotations

import time
from typing import Any

import click

from ..cost import predicted_cost
from ..goal.goal_file import FIGURES
from ..report.html_report import MODELS
from ..report.verdict import Verdict

_started = time.monotonic()


def say(text: str) -> None:
    """What is being done, with the seconds since the start."""
    click.echo(f"[{time.monotonic() - _started:5.1f} s] {text}", err=True)


def figures(measured: dict[str, Any]) -> None:
    """Float against int8, one line each."""
    figure = next(each for each in FIGURES.values() if f"{each}_fp32" in measured)
    title = {"auroc": "AUROC", "map50": "mAP50"}.get(figure, figure)
    click.echo(f"{'':12} {title:>8} {'95 % interval':>15} {'median ms':>10} {'p95 ms':>8} {'bytes':>10}")
    for key, model in MODELS.items():
        found, interval = "-", "-"
        if measured[f"{figure}_{key}"] is not None:
            low, high = measured[f"{figure}_interval_{key}"]
            found, interval = f"{measured[f'{figure}_{key}']:.4f}", f"{low:.3f} … {high:.3f}"
        times = f"{measured[f'ms_{key}']:>10.2f} {measured[f'p95_ms_{key}']:>8.2f}"
        click.echo(f"{model:12} {found:>8} {interval:>15} {times} {measured[f'bytes_{key}']:>10,}")
    steps = measured["parity_max_steps"]
    click.echo(f"int8 ONNX and int8 TFLite differ by at most {steps} integer step{'' if steps == 1 else 's'}")
    for name, there in predicted_cost.read(measured).items():
        click.echo(f"on the device, {name}: {there}")
    if "cosine_int8_onnx" in measured:
        least = min(measured["cosine_int8_onnx"], measured["cosine_int8_tflite"])
        click.echo(f"cosine of the outputs, int8 to float: {least:.4f} on average over the test images")
    if "agreement_int8_onnx" in measured:
        least = min(measured["agreement_int8_onnx"], measured["agreement_int8_tflite"])
        click.echo(f"the likeliest class is the same for {least:.1%} of them")
    if measured.get("accuracy_fp32", 0) is None or figure == "cosine":
        return
    images, judged = measured["images"], measured.get("judged")
    if "answered" in measured:
        answered, wrong = f"{measured['answered']} of {images['test']}", f"{measured['errors']} of them wrong"
        click.echo(f"{answered} test {judged or 'images'} are answered, {wrong}; the others are unknown")
        return
    if figure == "map50":
        line = measured["threshold"]["score"]
        found = f"precision {measured['precision']:.3f}, recall {measured['recall']:.3f}"
        click.echo(
            f"{images['test']} test images with {images['test_objects']} objects; from a score of {line:.3f}: {found}"
        )
        return
    caught = "" if measured["detection_rate"] is None else f", {measured['detection_rate']:.1%} of the defects found"
    alarms = f"{measured['false_alarms']} of {images['test_good']} good {judged or 'parts'}"
    click.echo(f"at the threshold {alarms} raise an alarm{caught}")


def verdict(judged: Verdict) -> None:
    """Each wish, what was found, and whether that is enough."""
    click.echo("goal met" if judged.met else "goal MISSED")
    for each in judged.judgements:
        mark = {True: "ok", False: "MISSED", None: "-"}[each.met]
        click.echo(f"  {mark:7} {each}")
