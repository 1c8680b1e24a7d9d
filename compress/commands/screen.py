"""What the workshop's verbs show: steps on stderr, figures on stdout."""

from __future__ import annotations

import time
from typing import Any

import click

from ..report import MODELS
from ..verdict import Verdict

_started = time.monotonic()


def say(text: str) -> None:
    """What is being done, with the seconds since the start."""
    click.echo(f"[{time.monotonic() - _started:5.1f} s] {text}", err=True)


def figures(measured: dict[str, Any]) -> None:
    """Float against int8, one line each."""
    click.echo(f"{'':12} {'AUROC':>7} {'95 % interval':>15} {'median ms':>10} {'p95 ms':>8} {'bytes':>10}")
    for key, title in MODELS.items():
        area, interval = "-", "-"
        if measured[f"auroc_{key}"] is not None:
            low, high = measured[f"auroc_interval_{key}"]
            area, interval = f"{measured[f'auroc_{key}']:.4f}", f"{low:.3f} … {high:.3f}"
        times = f"{measured[f'ms_{key}']:>10.2f} {measured[f'p95_ms_{key}']:>8.2f}"
        click.echo(f"{title:12} {area:>7} {interval:>15} {times} {measured[f'bytes_{key}']:>10,}")
    steps = measured["parity_max_steps"]
    click.echo(f"int8 ONNX and int8 TFLite differ by at most {steps} integer step{'' if steps == 1 else 's'}")
    images = measured["images"]
    caught = "" if measured["detection_rate"] is None else f", {measured['detection_rate']:.1%} of the defects found"
    click.echo(
        f"at the threshold {measured['false_alarms']} of {images['test_good']} good parts raise an alarm{caught}"
    )


def verdict(judged: Verdict) -> None:
    """Each wish, what was found, and whether that is enough."""
    click.echo("goal met" if judged.met else "goal MISSED")
    for each in judged.judgements:
        mark = {True: "ok", False: "MISSED", None: "-"}[each.met]
        click.echo(f"  {mark:7} {each}")
