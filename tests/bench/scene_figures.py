"""Bytes of messages, and cars counted by direction, on the episodes that false_alarms.py has stored.

    make bench-scene-figures BENCH_ARGS="--bundle people.vedette --keys keys"

Messages: all rules that tell of people who walk run on the square of `vtest.avi`, with their defaults; each message is
encoded as it is published, CloudEvents in JSON. Cars: the rule `crossing` counts on a line across the middle of
`car-detection.mp4`, of which two cars go up and two down in each loop, counted by hand; the weather changes from loop
to loop.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import click
import msgspec
import numpy as np
from false_alarms import GAP, SMALL, SeenFrame

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera.frame import Frame
from vedette.runtime.clock import Clock
from vedette.runtime.config.tracker_table import TrackerSettings
from vedette.runtime.events.cloud_event import encode_cloud_event
from vedette.runtime.events.event import Event
from vedette.runtime.rules import RuleContext, load_rule
from vedette.runtime.tracking.tracker import Tracker

LEFT, RIGHT = ([[x, 0.0], [x + 0.5, 0.0], [x + 0.5, 1.0], [x, 1.0]] for x in (0.0, 0.5))
PEOPLE = [
    {"use": "zone", "zones": {"left": LEFT, "right": RIGHT}},
    {"use": "crossing", "line": [[0.5, 0.0], [0.5, 1.0]]},
    {"use": "tailgate", "line": [[0.5, 0.0], [0.5, 1.0]]},
    {"use": "dwell", "seconds": 10.0},
    {"use": "crowd", "count": 5},
    {"use": "queue", "count": 3, "seconds": 5.0},
    {"use": "intrusion", "polygon": LEFT, "way": [[1.0, 0.5], [0.0, 0.5]]},
    {"use": "running"},
    {"use": "wrong_way", "way": [[0.0, 0.5], [1.0, 0.5]]},
]
TRUE_CARS = {"left": 2, "right": 2}
"""Of one loop, by hand: seen along the line from the left of the picture to the right, `left` is up."""


def play(
    frames: list[SeenFrame], tables: list[dict[str, Any]], context: RuleContext, **tracker: Any
) -> Iterator[Event]:
    """The events of an episode."""
    rules = [load_rule(table, context) for table in tables]
    follower = Tracker(TrackerSettings(**tracker), context.threshold)
    last, blank = frames[0].moment, np.zeros((len(frames[0].gray) // SMALL, SMALL, 3), np.uint8)
    for number, seen in enumerate(frames):
        if seen.moment - last > GAP / 2:
            yield from (event for rule in rules for event in rule.close())
        last = seen.moment
        frame = Frame("door", number, 1.7e9 + seen.moment, blank, seen.moment)
        tracked = follower.update(frame, seen.predictions)
        yield from (event for rule in rules for event in rule.observe(frame, tracked))


def read_episodes(out: Path, stem: str) -> Iterator[list[SeenFrame]]:
    """The frames of each stored episode of a recording."""
    for path in sorted(out.glob(f"{stem}-*.msgpack")):
        yield msgspec.msgpack.decode(path.read_bytes(), type=list[SeenFrame])


@click.command()
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--keys", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/false-alarms"), show_default=True)
def figures(bundle_file: Path, keys: Path, out: Path) -> None:
    """Measure messages and counts on stored episodes in OUT."""
    manifest = Bundle.open(bundle_file, Keyring.read(keys)).manifest
    labels, normal = manifest.labels, (*manifest.normal, "unknown")
    context = RuleContext("door", manifest.model_id, manifest.decision_threshold, labels, normal)
    sizes: dict[str, list[int]] = defaultdict(list)
    people = [{**table, "labels": ["person"]} for table in PEOPLE]
    for frames in read_episodes(out, "vtest"):
        for number, event in enumerate(play(frames, people, context)):
            message = encode_cloud_event(event, "/plant/hall2/line1/box7/door", number, "5eed5eed", Clock())
            sizes[event.rule].append(len(message))
    result: dict[str, Any] = {}
    for rule, values in [*sorted(sizes.items()), ("all", [each for some in sizes.values() for each in some])]:
        percentiles = np.percentile(values, (50, 95, 99, 100)).round().astype(int).tolist()
        over = sum(each > 2048 for each in values)
        result[rule] = {"messages": len(values), "p50_p95_p99_max": percentiles, "over_2048": over}
    line = {"use": "crossing", "line": [[0.0, 0.5], [1.0, 0.5]], "labels": ["car", "truck", "bus"], "min_score": 0.2}
    counted, loops = Counter[str](), 0
    for frames in read_episodes(out, "car-detection"):
        loops += 1 + sum(after.moment - before.moment > GAP / 2 for before, after in pairwise(frames))
        for event in play(frames, [line], context, high_score=0.2):
            if event.kind == "new" and event.after is not None:
                counted[str(event.after.direction)] += 1
    by_hand = {side: count * loops for side, count in TRUE_CARS.items()}
    result["cars"] = {"loops": loops, "counted": counted, "by_hand": by_hand}
    click.echo(json.dumps(result, indent=1))


if __name__ == "__main__":
    figures()
