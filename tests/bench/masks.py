"""Whether privacy zones stay over what they hide if the camera is moved.

    make bench-masks BENCH_ARGS="vtest.avi cars.mp4 scenes/ --model yolox_nano.onnx --out build/masks.json"

Each argument is a group: a video of a fixed camera, a folder of short clips, or a folder of images. Two questions:

1. Watch: does a view that nobody moved count as moved? Each video, a picture every two seconds against its first one,
   as it is and in each kind of weather (weather.py; `night` is gray, dark, noisy, of low contrast, and brightest in the
   middle, as an infrared lamp makes it). Cameras of recordings do move at times; the rows tell by how much.
2. Moves: what happens if it was moved? The reference is a picture, the moved one the picture a second later (in a short
   clip five frames, of an image the image itself) under a known motion: shifted in a random direction, panned as a
   camera of 60 degrees does it (a homography), turned, or zoomed. The picture's edge is mirrored. A zone of random
   place and size is private; it is uncovered if one of its pixels is shown after the move.

The limits are chosen on all groups but one, and applied to the one left out.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
from view_motions import KINDS, change_light, list_motions

from vedette.runtime.camera import moved_zones
from vedette.runtime.camera.capture.privacy_mask import PrivacyMask, rasterize_zones
from vedette.runtime.camera.image_files import filter_images
from vedette.runtime.camera.moved_zones import FAINT, follow_zones
from vedette.runtime.camera.outline_fit import measure_spread
from vedette.runtime.camera.view_matcher import SIDE, STILL, ViewMatcher, shrink
from vedette.runtime.evaluation.metrics import wilson_interval

PAIRS, CLIPS, GAP = 5, 16, 5  # pairs of a video; clips or images of a folder; frames between those of a short clip
IN_WEATHER = 0.25  # share of the motions that are tried in each kind of weather
GROWTHS, SHARES = (1.0, 1.5, 2.0, 2.5, 3.0), (0.4, 0.5, 0.6, 0.7)


def read_frames(path: Path) -> tuple[list[Any], float]:
    video, frames = cv2.VideoCapture(str(path)), []
    while (read := video.read())[0]:
        frames.append(read[1])
    return frames, video.get(cv2.CAP_PROP_FPS)


def list_pairs(group: Path) -> Iterator[tuple[Any, Any]]:
    """Pictures of one camera, before and after."""
    if group.is_file():
        frames, rate = read_frames(group)
        for number in np.linspace(0, len(frames) - round(rate) - 1, PAIRS).astype(int).tolist():
            yield frames[number], frames[number + round(rate)]
        return
    clips, images = sorted(group.rglob("*.mp4")), filter_images(group.rglob("*"))
    for path in (clips or images)[:: max(1, len(clips or images) // CLIPS)][:CLIPS]:
        frames = read_frames(path)[0] if clips else [cv2.imread(str(path))] * (GAP + 1)
        yield frames[0], frames[GAP]


def judge(matcher: ViewMatcher, pixels: Any) -> tuple[str, Any, Any]:
    """What the product does: `still`, `moved` or `lost`; the motion; the zones that follow."""
    motion = matcher.locate(shrink(pixels))
    if motion is None:
        return "lost", None, None
    if (shift := matcher.measure_shift(motion.matrix)) <= STILL:
        return "still", motion, follow_zones(matcher, motion) if shift > FAINT else None
    zones = follow_zones(matcher, motion)
    return "lost" if zones is None else "moved", motion, zones


def make_matcher(pixels: Any, zones: Any) -> ViewMatcher:
    gray = shrink(PrivacyMask(zones)(pixels.copy()))
    return ViewMatcher(gray, rasterize_zones(zones, *gray.shape))


def watch(group: Path, rng: Any) -> Iterator[dict[str, Any]]:
    """Question 1, for a video."""
    frames, rate = read_frames(group)
    zones = [draw_zone(rng)]
    matcher, mask = make_matcher(frames[0], zones), PrivacyMask(zones)
    for kind in KINDS:
        for frame in frames[:: round(2 * rate)]:
            outcome, motion, _ = judge(matcher, mask(change_light(frame, kind, rng).copy()))
            shift = None if motion is None else round(matcher.measure_shift(motion.matrix) / SIDE, 4)
            yield {"group": group.name, "kind": kind, "outcome": outcome, "shift": shift}


def try_moves(group: Path, rng: Any) -> Iterator[dict[str, Any]]:
    """Question 2."""
    for number, (before, after) in enumerate(list_pairs(group)):
        height, width = before.shape[:2]
        zones = [draw_zone(rng)]
        matcher, mask = make_matcher(before, zones), PrivacyMask(zones)
        private = rasterize_zones(zones, height, width)
        if not matcher.is_usable:
            yield {"group": group.name, "number": number, "kind": "as it is", "move": "", "outcome": "unusable"}
            continue
        for kind in KINDS if group.is_file() else (KINDS[0], KINDS[1 + number % (len(KINDS) - 1)]):
            for move, matrix in list_motions(width, height, rng):
                if kind != KINDS[0] and rng.random() > IN_WEATHER:
                    continue
                moved = cv2.warpPerspective(after, matrix, (width, height), borderMode=cv2.BORDER_REFLECT)
                outcome, motion, following = judge(matcher, mask(change_light(moved, kind, rng).copy()))
                row = {"group": group.name, "number": number, "kind": kind, "move": move, "outcome": outcome}
                if motion is not None:
                    row |= measure(matcher, motion, matrix, width, height)
                there = cv2.warpPerspective(private.astype(np.uint8), matrix, (width, height), flags=cv2.INTER_NEAREST)
                if outcome != "lost" and there.any():
                    shown = mask(np.full((height, width, 3), 255, np.uint8))
                    shown = shown if following is None else following.hide(shown)
                    row["uncovered"] = float((shown[there > 0] > 0).any(axis=1).mean())
                yield row


def measure(matcher: ViewMatcher, motion: Any, matrix: Any, width: int, height: int) -> dict[str, float]:
    """The error of a motion at the edges of the zones, and what its growth is made of, in pixels of SIDE."""
    stretch = np.diag([matcher.size[0] / width, matcher.size[1] / height, 1])
    true = stretch @ matrix @ np.linalg.inv(stretch)
    true = np.linalg.inv(matcher.to_pixels) @ true @ matcher.to_pixels
    places = matcher.levels[-1].to_places(matcher.edges)
    return {
        "share": motion.share,
        "error": matcher.measure_shift(motion.matrix, true),
        "shift": matcher.measure_shift(motion.matrix),
        "spread": float(measure_spread(motion.covariance, places).max()) * matcher.levels[-1].half,
        "models": matcher.measure_shift(motion.matrix, motion.simple),
    }


def draw_zone(rng: Any) -> list[tuple[float, float]]:
    (wide, high), (x, y) = rng.uniform(0.15, 0.4, 2), rng.uniform(0, 0.6, 2)
    return [(x, y), (x + wide, y), (x + wide, y + high), (x, y + high)]


def follows(row: dict[str, Any], growth: float, share: float) -> tuple[bool, bool]:
    """Whether zones would follow with these limits, and whether they would then cover what is private."""
    if "share" not in row or row["shift"] <= STILL:
        return False, True
    grown = growth + moved_zones.growth_beyond(row["shift"], row["spread"], row["models"])
    fits = row["share"] >= share and row["shift"] <= moved_zones.MAX_SHIFT and grown <= moved_zones.MAX_GROWTH
    return fits, row["error"] <= grown


def leave_one_out(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """For each group: the limits that follow most without a failure on the others, and what they do to it."""
    found = {}
    for group in sorted({row["group"] for row in rows}):
        choices = []
        for growth, share in product(GROWTHS, SHARES):
            outcomes = [follows(row, growth, share) for row in rows if row["group"] != group]
            if all(covers for fits, covers in outcomes if fits):
                choices.append((sum(fits for fits, _ in outcomes), -growth, share))
        if choices:
            _, growth, share = max(choices)
            outcomes = [follows(row, -growth, share) for row in rows if row["group"] == group]
            followed = [covers for fits, covers in outcomes if fits]
            found[group] = {"growth": -growth, "share": share, "followed": len(followed), "covered": sum(followed)}
    return found


def summarize(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """By motion: outcomes, the error of those that are followed, and how many of those shown uncover something."""
    table = {}
    for move in dict.fromkeys(row["move"] for row in rows if row["move"]):
        found = [row for row in rows if row["move"] == move]
        errors = [row["error"] for row in found if row["outcome"] == "moved"]
        bare = [row["uncovered"] for row in found if row.get("uncovered", 0) > 0]
        noticed = sum(row["outcome"] != "still" for row in found)
        table[move] = {
            "pictures": len(found),
            **Counter(row["outcome"] for row in found),
            "noticed": [round(end, 3) for end in wilson_interval(noticed, len(found))],
            "error": [round(float(each), 2) for each in np.percentile(errors, (50, 95, 100))] if errors else [],
            "uncover": len(bare),
            "most_uncovered": max(bare, default=0.0),
        }
    return table


def compare_time(video: Path, model: Path) -> dict[str, float]:
    """Milliseconds of a check over those of one inference, interleaved, one thread each; medians of the ratios."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(model), options)
    (given,) = session.get_inputs()
    blank = np.zeros([each if isinstance(each, int) else 1 for each in given.shape], np.float32)
    frames, _ = read_frames(video)
    zones = [draw_zone(np.random.default_rng(0))]
    matcher, mask = make_matcher(frames[0], zones), PrivacyMask(zones)
    motions = dict(list_motions(frames[0].shape[1], frames[0].shape[0], np.random.default_rng(0)))
    size = frames[0].shape[1], frames[0].shape[0]
    pictures = {"still": mask(frames[-1].copy())}
    for move in ("shift 5%", "shift 40%"):
        pictures[move] = mask(cv2.warpPerspective(frames[-1], motions[move], size, borderMode=cv2.BORDER_REFLECT))
    ratios: dict[str, list[float]] = {name: [] for name in pictures}
    for _, (name, picture) in product(range(20), pictures.items()):
        start = time.perf_counter()
        session.run(None, {given.name: blank})
        between = time.perf_counter()
        matcher.locate(shrink(picture))
        ratios[name].append((time.perf_counter() - between) / (between - start))
    return {name: round(float(np.median(each)), 2) for name, each in ratios.items()}


@click.command()
@click.argument("groups", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.option("--model", type=click.Path(path_type=Path, exists=True), help="ONNX model whose time is compared.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("build/masks.json"), show_default=True)
def masks(groups: tuple[Path, ...], model: Path | None, out: Path) -> None:
    """Measure the guard of privacy zones on GROUPS."""
    cv2.setNumThreads(1)
    rng = np.random.default_rng(0)
    watched = [row for group in groups if group.is_file() for row in watch(group, rng)]
    outcomes = Counter((row["group"], row["kind"], row["outcome"]) for row in watched)
    result: dict[str, Any] = {"watch": [[*key, count] for key, count in sorted(outcomes.items())]}
    click.echo(json.dumps(result["watch"]))
    rows: list[dict[str, Any]] = []
    for group in groups:
        rows += try_moves(group, rng)
        click.echo(f"{group.name}: {len(rows)} moves so far", err=True)
    result |= {"moves": summarize(rows), "left_out": leave_one_out(rows)}
    if model is not None:
        result["time"] = compare_time(next(each for each in groups if each.is_file()), model)
    click.echo(json.dumps({key: result[key] for key in result if key != "watch"}, indent=1))
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(result | {"watch_rows": watched, "rows": rows}))


if __name__ == "__main__":
    masks()
