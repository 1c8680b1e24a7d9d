"""False alarms per day of the rules, on real recordings in which nothing of the kind happens.

    make bench-false-alarms BENCH_ARGS="--bundle people.vedette --keys keys --footage DIR --hours 2"

Each recording is looped in changing weather (weather.py), five frames a second of 512 pixels width, through the
bundle's model. What the model finds, and a gray picture of 160 pixels width, is stored in `--out`, an episode of about
ten minutes in a file, so that a second run asks only the rules, and goes on with new episodes until there are so many
`--hours` of each recording. Between two loops lies a gap of five seconds that does not count: the tracker forgets
everybody.

What happens in the recordings was looked at by hand (SCENES). Every event that is more than that is a false alarm. The
interval is Poisson's, exact, 95 %. Loops of one recording show the same people, so the hours are worth less than hours
of different days.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np
from scipy.stats import chi2
from weather import Weather

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera.frame import Frame
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Prediction
from vedette.runtime.rules import RuleContext, load_rule
from vedette.runtime.tracking.tracker import Tracker

FPS, GAP, EPISODE_SECONDS, WIDTH, SMALL = 5.0, 5.0, 600.0, 512, 160
PERSON = {"labels": ["person"], "update": 0}
ANYWHERE = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]]
NEVER: dict[str, dict[str, Any]] = {
    "fall": PERSON,
    "lying": PERSON,
    "running": PERSON,
    "left_object": {"ignore": ["person"], "update": 0},
    "removed_object": {"ignore": ["person"], "update": 0},
}
ONE_AT_A_TIME: dict[str, dict[str, Any]] = {
    "crowd": PERSON | {"count": 2, "inertia": 1.0},
    "queue": PERSON | {"count": 2, "seconds": 3.0},
    "tailgate": PERSON | {"line": [[0.3, 0.0], [0.3, 1.0]]},
}
NOBODY: dict[str, dict[str, Any]] = {
    "presence": {"labels": ["person"], "debounce": 3, "update": 0},
    "zone": PERSON | {"polygon": ANYWHERE},
    "dwell": PERSON | {"seconds": 5.0},
    "intrusion": PERSON | {"polygon": ANYWHERE},
}
SCENES = {
    "vtest.avi": NEVER,  # pedestrians on a square: all walk, nobody lies down, nothing is put down or taken away
    "one-by-one-person-detection.mp4": NEVER | ONE_AT_A_TIME,  # six people, one after the other, stand at a table
    "car-detection.mp4": NEVER | ONE_AT_A_TIME | NOBODY,  # four cars seen from above, and no person
}


class SeenFrame(msgspec.Struct):
    """One frame of an episode, as it is stored."""

    moment: float
    gray: bytes
    predictions: tuple[Prediction, ...]


def film_episode(path: Path, seed: int) -> Iterator[tuple[float, Any]]:
    """Frames of a recording that is looped for EPISODE_SECONDS, with their moments."""
    weather, began, filmed = None, 0.0, 0.0
    while filmed < EPISODE_SECONDS:
        video = cv2.VideoCapture(str(path))
        rate, number, taken, last = video.get(cv2.CAP_PROP_FPS), 0, 0, 0.0
        while video.grab():
            if number / rate >= taken / FPS:
                _, pixels = video.retrieve()
                pixels = cv2.resize(pixels, (WIDTH, round(WIDTH * pixels.shape[0] / pixels.shape[1])))
                weather = weather or Weather(seed, *pixels.shape[:2])
                last = taken / FPS
                yield began + last, weather.change(pixels, filmed + last)
                taken += 1
            number += 1
        began, filmed = began + last + GAP, filmed + last


def store_episode(pipeline: InferencePipeline, path: Path, seed: int, into: Path) -> None:
    """Runs the model over an episode and stores what it saw."""
    seen = []
    for moment, pixels in film_episode(path, seed):
        predictions = pipeline.predict(moment, pixels) or ()
        size = (SMALL, round(SMALL * pixels.shape[0] / pixels.shape[1]))
        gray = cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY)
        seen.append(SeenFrame(moment, gray.tobytes(), predictions))
    unfinished = into.with_suffix(".part")
    unfinished.write_bytes(msgspec.msgpack.encode(seen))
    unfinished.rename(into)


def count_events(episode: Path, tables: dict[str, dict[str, Any]], context: RuleContext) -> tuple[float, Counter[str]]:
    """Seconds of an episode, and `new` events by rule."""
    frames = msgspec.msgpack.decode(episode.read_bytes(), type=list[SeenFrame])
    rules = [load_rule({"use": use, **table}, context) for use, table in tables.items()]
    tracker, events, seconds, last = (
        Tracker(TrackerSettings(), context.threshold),
        Counter[str](),
        0.0,
        frames[0].moment,
    )
    for number, seen in enumerate(frames):
        gray = np.frombuffer(seen.gray, np.uint8).reshape(-1, SMALL)
        frame = Frame(context.camera, number, 1.7e9 + seen.moment, np.repeat(gray[..., None], 3, axis=2), seen.moment)
        tracked = tracker.update(frame, seen.predictions)
        for rule in rules:
            told = rule.observe(frame, tracked if rule.needs_tracks else seen.predictions)
            events.update(event.rule for event in told if event.kind == "new")
        seconds += min(seen.moment - last, 2 / FPS)
        last = seen.moment
    return seconds, events


def find_interval(events: int, days: float) -> tuple[float, float]:
    """Exact 95 % interval of a Poisson rate, per day."""
    low = chi2.ppf(0.025, 2 * events) / 2 if events else 0.0
    return float(low / days), float(chi2.ppf(0.975 if events else 0.95, 2 * events + 2) / 2 / days)


@click.command()
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--keys", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--footage", type=click.Path(path_type=Path, exists=True), required=True, help="folder of the recordings")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/false-alarms"), show_default=True)
@click.option("--hours", type=float, default=1.0, show_default=True, help="of each recording; 0: what is stored")
def false_alarms(bundle_file: Path, keys: Path, footage: Path, out: Path, hours: float) -> None:
    """Count what the rules tell of recordings in which nothing happens."""
    out.mkdir(parents=True, exist_ok=True)
    bundle = Bundle.open(bundle_file, Keyring.read(keys))
    manifest = bundle.manifest
    threshold = manifest.decision_threshold
    context = RuleContext("bench", manifest.model_id, threshold, manifest.labels, (*manifest.normal, "unknown"))
    pipeline = None
    for seed in range(int(np.ceil(hours * 3600 / EPISODE_SECONDS))):
        for name in SCENES:
            into = out / f"{Path(name).stem}-{seed}.msgpack"
            if into.exists():
                continue
            if pipeline is None:
                head = load_head(manifest, threshold / 2)
                pipeline = InferencePipeline(bundle, select_backend(bundle, "auto", 1), head)
            store_episode(pipeline, footage / name, seed, into)
            click.echo(f"{into.name} is stored", err=True)
    rows = []
    for name, tables in SCENES.items():
        total, seconds, episodes = Counter[str](), 0.0, sorted(out.glob(f"{Path(name).stem}-*.msgpack"))
        for episode in episodes:
            some, events = count_events(episode, tables, context)
            seconds, total = seconds + some, total + events
        for use in tables:
            if seconds:
                low, high = find_interval(total[use], seconds / 86400)
                row = {"recording": name, "rule": use, "events": total[use], "hours": round(seconds / 3600, 2)}
                rows.append(
                    row
                    | {"per_day": round(total[use] / seconds * 86400, 1), "low": round(low, 1), "high": round(high, 1)}
                )
    (out / "false-alarms.json").write_text(json.dumps(rows, indent=2))
    for row in rows:
        click.echo("| " + " | ".join(str(each) for each in row.values()) + " |")


if __name__ == "__main__":
    false_alarms()
