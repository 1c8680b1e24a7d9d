"""False alarms and hits of `left_object` and `removed_object`, by recording and by kind of weather.

    make bench-static-objects BENCH_ARGS="--bundle people.vedette --keys keys --footage DIR --bags DIR"

Episodes are made and stored as in false_alarms.py, once in all weather and once in each kind of weather.py alone. Each
is filmed twice: as it is, where every event is a false alarm, and with real bags pasted into the recording before the
weather is added (crops of COCO128, in an oval). Two bags are put down, one of them is taken away, and a third stands
there from the start and is taken away. In `all` weather the model looks at each frame; in one kind alone it has looked
at the frame without weather, so that the errors are the rule's own. A hit is the right rule's `new` at the place of the
bag within MAX_DELAY seconds. Whatever else it tells is counted as `wrong`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import msgspec
import numpy as np
from false_alarms import EPISODE_SECONDS, FPS, GAP, SMALL, WIDTH, find_interval
from weather import KINDS, Weather

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.camera.frame import Frame
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.heads import load_head
from vedette.runtime.inference.pipeline import InferencePipeline
from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.rules import RuleContext, load_rule

Predict = Callable[[int, Any], tuple[Prediction, ...]]
WEATHERS: dict[str, tuple[str, ...]] = {"calm": (), **{kind: (kind,) for kind in KINDS}, "all": KINDS}
RULES = ("left_object", "removed_object")
MAX_DELAY = 60.0
SPANS = ((120.0, 260.0), (-1.0, 330.0), (400.0, 9999.0))
"""Seconds of an episode from which and to which each of the three bags stands there."""
PLACES = {  # middle of the lower edge of each bag, and the height, as fractions of the frame; looked at by hand
    "vtest.avi": (((0.35, 0.75), (0.60, 0.62), (0.80, 0.63)), 0.08),
    "one-by-one-person-detection.mp4": (((0.30, 0.93), (0.12, 0.88), (0.88, 0.93)), 0.16),
    "car-detection.mp4": (((0.12, 0.5), (0.9, 0.7), (0.5, 0.85)), 0.13),
}
BAGS = {"24", "26", "28"}  # backpack, handbag, suitcase
LEAST_BAG = 60  # pixels of the shorter edge


class BagFrame(msgspec.Struct):
    """One frame of an episode, once as it is and once with bags."""

    moment: float
    gray: bytes
    with_bags: bytes
    predictions: tuple[Prediction, ...]


def read_bags(folder: Path) -> list[Any]:
    """Crops of the bags of COCO128, in the order of their names."""
    bags = []
    for path in sorted((folder / "labels").rglob("*.txt")):
        pixels = cv2.imread(str(folder / "images" / f"{path.stem}.jpg"))
        if pixels is None:
            continue
        height, width = pixels.shape[:2]
        for label, *numbers in (line.split() for line in path.read_text().splitlines()):
            x, y, wide, high = (float(each) for each in numbers)
            if label in BAGS and min(wide * width, high * height) >= LEAST_BAG:
                rows, columns = (
                    (round((m - s / 2) * n), round((m + s / 2) * n))
                    for m, s, n in ((y, high, height), (x, wide, width))
                )
                bags.append(pixels[max(rows[0], 0) : rows[1], max(columns[0], 0) : columns[1]])
    return bags


def place_bag(name: str, number: int) -> Box:
    """Where a bag stands: a square."""
    (places, high) = PLACES[name]
    x, y = places[number]
    return Box(x - high * 0.375, y - high, x + high * 0.375, y)


def paste_bag(pixels: Any, bag: Any, box: Box) -> None:
    """Draws a bag into the frame, in an oval."""
    height, width = pixels.shape[:2]
    left, top, right, bottom = (
        round(e * n) for e, n in zip((box.left, box.top, box.right, box.bottom), (width, height) * 2, strict=True)
    )
    small = cv2.resize(bag, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
    mask = np.zeros(small.shape[:2], np.uint8)
    cv2.ellipse(
        mask, ((right - left) // 2, (bottom - top) // 2), ((right - left) // 2, (bottom - top) // 2), 0, 0, 360, 1, -1
    )
    area = pixels[top:bottom, left:right]
    np.copyto(area, small, where=mask[..., None].astype(bool))


def shrink(pixels: Any) -> bytes:
    """The small gray picture that is stored."""
    size = (SMALL, round(SMALL * pixels.shape[0] / pixels.shape[1]))
    return cv2.cvtColor(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY).tobytes()


def read_loop(path: Path) -> list[Any]:
    """The frames of a recording, FPS in a second, WIDTH pixels wide."""
    video, frames, number = cv2.VideoCapture(str(path)), [], 0
    rate = video.get(cv2.CAP_PROP_FPS)
    while video.grab():
        if number / rate >= len(frames) / FPS:
            _, pixels = video.retrieve()
            frames.append(cv2.resize(pixels, (WIDTH, round(WIDTH * pixels.shape[0] / pixels.shape[1]))))
        number += 1
    return frames


def film_episode(
    loop: list[Any], name: str, kind: str, seed: int, bags: list[Any]
) -> Iterator[tuple[float, int, Any, Any]]:
    """Moment, number in the loop, frame, and frame with bags, of a recording that is looped for EPISODE_SECONDS."""
    height, width = loop[0].shape[:2]
    weather, twin = (Weather(seed, height, width, WEATHERS[kind]) for _ in range(2))
    began, filmed = 0.0, 0.0
    while filmed < EPISODE_SECONDS:
        for number, pixels in enumerate(loop):
            at = filmed + number / FPS
            present = [each for each, (start, end) in enumerate(SPANS) if start <= at < end]
            twin.rng.bit_generator.state = weather.rng.bit_generator.state
            changed = with_bags = weather.change(pixels, at) if kind != "calm" else pixels
            if present:
                with_bags = pixels.copy()
                for each in present:
                    paste_bag(with_bags, bags[(3 * seed + each) % len(bags)], place_bag(name, each))
                with_bags = twin.change(with_bags, at) if kind != "calm" else with_bags
            yield began + number / FPS, number, changed, with_bags
        began, filmed = began + (len(loop) - 1) / FPS + GAP, filmed + (len(loop) - 1) / FPS


def store_episode(predict: Predict, frames: Iterator[tuple[float, int, Any, Any]], into: Path) -> None:
    """Stores an episode with what the model sees in it."""
    seen = []
    for moment, number, pixels, with_bags in frames:
        seen.append(BagFrame(moment, shrink(pixels), shrink(with_bags), predict(number, pixels)))
    unfinished = into.with_suffix(".part")
    unfinished.write_bytes(msgspec.msgpack.encode(seen))
    unfinished.rename(into)


def play(frames: list[BagFrame], bags: bool, context: RuleContext) -> Iterator[tuple[float, str, Box]]:
    """Each `new` event of both rules: seconds of the episode without the gaps, rule, box."""
    rules = [load_rule({"use": use, "ignore": ["person"], "update": 0}, context) for use in RULES]
    filmed, last = 0.0, frames[0].moment
    for number, seen in enumerate(frames):
        gap = seen.moment - last > GAP / 2
        filmed, last = filmed + (0.0 if gap else seen.moment - last), seen.moment
        gray = np.frombuffer(seen.with_bags if bags else seen.gray, np.uint8).reshape(-1, SMALL)
        frame = Frame(context.camera, number, 1.7e9 + seen.moment, np.repeat(gray[..., None], 3, axis=2), seen.moment)
        for rule in rules:
            for event in rule.observe(frame, seen.predictions):
                box = event.predictions[0].box if event.predictions else None
                if event.kind == "new" and box is not None:
                    yield filmed, event.rule, box


def judge(events: list[tuple[float, str, Box]], name: str) -> Counter[str]:
    """Hits by rule, and what is wrong."""
    wanted = [("left_object", *SPANS[0][:1], 0), ("removed_object", SPANS[1][1], 1), ("left_object", SPANS[2][0], 2)]
    found = Counter[str]()
    for moment, rule, box in events:
        for each in wanted:
            use, start, number = each
            bag = place_bag(name, number)
            x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
            if (
                use == rule
                and start <= moment <= start + MAX_DELAY
                and bag.left <= x <= bag.right
                and bag.top <= y <= bag.bottom
            ):
                found[f"hit {rule}"] += 1
                wanted.remove(each)
                break
        else:
            found["wrong"] += 1
    return found


@click.command()
@click.option("--bundle", "bundle_file", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--keys", type=click.Path(path_type=Path, exists=True), required=True)
@click.option("--footage", type=click.Path(path_type=Path, exists=True), required=True, help="folder of the recordings")
@click.option("--bags", "bag_folder", type=click.Path(path_type=Path, exists=True), required=True, help="COCO128")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/static-objects"), show_default=True)
@click.option(
    "--episodes", type=int, default=1, show_default=True, help="of each recording and kind; 0: what is stored"
)
def static_objects(bundle_file: Path, keys: Path, footage: Path, bag_folder: Path, out: Path, episodes: int) -> None:
    """Count what left_object and removed_object tell."""
    out.mkdir(parents=True, exist_ok=True)
    bundle = Bundle.open(bundle_file, Keyring.read(keys))
    manifest = bundle.manifest
    context = RuleContext(
        "bench", manifest.model_id, manifest.decision_threshold, manifest.labels, (*manifest.normal, "unknown")
    )
    bags = read_bags(bag_folder)
    head = load_head(manifest, manifest.decision_threshold / 2)
    pipeline = InferencePipeline(bundle, select_backend(bundle, "auto", 1), head)

    def detect(_number: int, pixels: Any) -> tuple[Prediction, ...]:
        return pipeline.predict(0.0, pixels) or ()

    for name in PLACES:
        files = {
            (kind, seed): out / f"{Path(name).stem}-{kind}-{seed}.msgpack"
            for kind in WEATHERS
            for seed in range(episodes)
        }
        if all(each.exists() for each in files.values()):
            continue
        loop = read_loop(footage / name)
        plain = [detect(0, pixels) for pixels in loop]
        for (kind, seed), into in files.items():
            if not into.exists():
                predict = detect if kind == "all" else lambda number, _, plain=plain: plain[number]
                store_episode(predict, film_episode(loop, name, kind, seed, bags), into)
                click.echo(f"{into.name} is stored", err=True)
    rows = []
    for name in PLACES:
        for kind in WEATHERS:
            alarms, found, seconds, count = Counter[str](), Counter[str](), 0.0, 0
            for path in sorted(out.glob(f"{Path(name).stem}-{kind}-*.msgpack")):
                frames = msgspec.msgpack.decode(path.read_bytes(), type=list[BagFrame])
                alarms.update(rule for _, rule, _ in play(frames, False, context))
                found.update(judge(list(play(frames, True, context)), name))
                seconds, count = seconds + len(frames) / FPS, count + 1
            if not count:
                continue
            row: dict[str, Any] = {"recording": name, "weather": kind, "hours": round(seconds / 3600, 2)}
            for use in RULES:
                low, high = find_interval(alarms[use], seconds / 86400)
                row |= {
                    use: alarms[use],
                    f"{use} a day": [round(each) for each in (alarms[use] / seconds * 86400, low, high)],
                }
                row[f"{use} hits"] = f"{found[f'hit {use}']} of {count * (2 if use == 'left_object' else 1)}"
            rows.append(row | {"wrong": found["wrong"]})
    (out / "static-objects.json").write_text(json.dumps(rows, indent=2))
    for row in rows:
        click.echo("| " + " | ".join(str(each) for each in row.values()) + " |")


if __name__ == "__main__":
    static_objects()
