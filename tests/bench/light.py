"""`make bench-light`: what other light and a slightly moved camera cost, and what recalibration gives back.

Each set is built once (`detector = "padim"`), and its int8 ONNX file scores the test images as they are and under one
change that every image gets, at the size of the model's input:

    gain      every channel times 0.9, 0.75, 0.6 and times 1.1, 1.3, 1.6
    gamma     an exponent of 0.9, 0.75, 0.6 and of 1.1, 1.3, 1.6
    colour    red times 1.05, 1.1, 1.2 and blue divided by the same, and the reverse
    blur      Gaussian, 0.5, 1 and 2 pixels of 224
    shift     1 %, 3 % and 6 % of the side, right and down, and left and up; the border is mirrored

For each of the three strengths it measures the AUROC, and false alarms and detections at the threshold: that of the
build, then after recalibration with 20 good images under the same change that are never tested (from `calibrate` and
half of `test`, by group; fewer where a set has fewer), mean of 5 draws. Ways to recalibrate are compared:

    offset      the build's threshold, moved by the difference of the medians
    scaled      the same, and its distance from the median scaled as the band from the 10 % to the 90 % quantile
    both        the higher of `offset` and `conformal`, unless the images prove the goal's false-alarm rate
    conformal   the conformal threshold of the new images alone, as `vedette recalibrate` sets it

It also tells how uniform the p-values of good test images are.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --images N of each kind that are tested, --seed N, --unvaried
(the builds vary no image; in a folder of their own), --out FOLDER. A set that is built already is not built again. It
leaves `light.json` and `light.md` in the folder.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bench_options
import click
import cv2
import numpy as np
import sets
from numpy.typing import NDArray
from scipy import stats

from vedette.compress.build import BuildRequest, build
from vedette.compress.data.labeled_images import find_images
from vedette.compress.goal import goal_reader
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.calibration import good_scores, independent_threshold
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc
from vedette.runtime.inference import backends
from vedette.runtime.inference.preprocess import Preprocess

ROOT = Path(__file__).parents[2]
NEW_IMAGES = 20
DRAWS = 5
WAYS = ("build", "offset", "scaled", "both", "conformal")
Array = NDArray[Any]
Change = Callable[[Array], Array]


def _levels(gain: float, gamma: float) -> Change:
    table = np.rint(255 * gain * (np.arange(256) / 255) ** gamma).clip(0, 255).astype(np.uint8)
    return lambda image: np.asarray(cv2.LUT(image, table))


def _colour(red: float) -> Change:
    gains = np.array([red, 1.0, 1 / red])
    return lambda image: np.rint(image * gains).clip(0, 255).astype(np.uint8)


def _blur(sigma: float) -> Change:
    return lambda image: np.asarray(cv2.GaussianBlur(image, (0, 0), sigma * image.shape[0] / 224))


def _shift(share: float) -> Change:
    def move(image: Array) -> Array:
        height, width = image.shape[:2]
        matrix = np.array([[1, 0, share * width], [0, 1, share * height]])
        return np.asarray(cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101))

    return move


UNVARIED = "[augment]\nshift = 0\nrotate = 0\nlight = 0\nblur = 0\nnoise = 0\n"
CHANGES: dict[tuple[str, int], list[Change]] = {("none", 0): [lambda image: image]}
"""Kind and strength -> the changes of that strength, in both directions where there are two."""
for _strength, (_low, _high, _red, _sigma, _share) in enumerate(
    ((0.9, 1.1, 1.05, 0.5, 0.01), (0.75, 1.3, 1.1, 1.0, 0.03), (0.6, 1.6, 1.2, 2.0, 0.06)), 1
):
    CHANGES["gain", _strength] = [_levels(by, 1.0) for by in (_low, _high)]
    CHANGES["gamma", _strength] = [_levels(1.0, by) for by in (_low, _high)]
    CHANGES["colour", _strength] = [_colour(_red), _colour(1 / _red)]
    CHANGES["blur", _strength] = [_blur(_sigma)]
    CHANGES["shift", _strength] = [_shift(_share), _shift(-_share)]


def main() -> None:
    options = read_options("Other light, and recalibration.")
    options.out.mkdir(parents=True, exist_ok=True)
    found: dict[str, Any] = {"options": {key: str(value) for key, value in vars(options).items()}, "sets": {}}
    for name in options.sets:
        try:
            found["sets"][name] = measure(name, options)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        click.echo(f"[{time.strftime('%H:%M:%S')}] {name}: done", err=True)
        (options.out / "light.json").write_text(json.dumps(found, indent=2) + "\n")
    text = tables(found["sets"])
    (options.out / "light.md").write_text(text)
    click.echo(text)


def built(name: str, options: Any) -> tuple[Bundle, dict[str, list[Path]], dict[Path, str]]:
    """The bundle of a set, its images by purpose, and the groups of the good ones."""
    folder, key_folder = options.out / f"{name}-{options.seed}", options.out / "keys"
    if not key_folder.exists():
        keys.generate_key_pair(key_folder)
    goal, _ = sets.prepare(name, options.data, folder, options.seed)
    goal.write_text(f'{goal.read_text()}[model]\ndetector = "padim"\n{UNVARIED if options.unvaried else ""}')
    settings = goal_reader.read_goal(goal)
    path = folder / "out" / f"{settings.name}.vedette"
    if not path.exists():
        build(BuildRequest(goal, folder / "out", keys.read_private_key(key_folder / "vedette.key")))
    labeled = find_images(settings.data, goal.parent)
    split = json.loads(path.with_suffix(".json").read_text())["split"]
    images = {}
    for part in ("fit", "calibrate", "threshold", "test", "defect"):
        by_name = {each.name: each for each in labeled.by_label["defect" if part == "defect" else "good"]}
        images[part] = [by_name[Path(entry).name] for entry in split[part]]
    return Bundle.open(path, Keyring.read(key_folder)), images, labeled.groups


def measure(name: str, options: Any) -> dict[str, Any]:
    bundle, images, groups = built(name, options)
    manifest, rng = bundle.manifest, np.random.default_rng(options.seed)
    preprocess, backend = Preprocess(manifest.input), backends.load_backend("onnx", bundle)
    output = manifest.output("score")
    step, highest = output.scale, output.highest

    def scores(pixels: list[Array], change: Change) -> Array:
        integers = np.array([float(backend.run(change(each[0])[None])["score"].flat[0]) for each in pixels])
        return np.asarray(step * (integers - output.zero_point))

    def read(paths: list[Path], most: int) -> list[Array]:
        chosen = sorted(rng.permutation(np.array(paths, object))[:most].tolist())
        return [preprocess(image_files.read_image(path)) for path in chosen]

    names = sorted({groups[path] for path in images["test"]})
    rng.shuffle(names)
    half = set(names[: len(names) // 2])
    spare = [*images["calibrate"], *(path for path in images["test"] if groups[path] in half)]
    pixels = {
        "new": read(spare, 60),
        "good": read([path for path in images["test"] if groups[path] not in half], options.images),
        "defect": read(images["defect"], options.images),
        "threshold": read(images["threshold"], 10_000),
    }
    held = scores(pixels["threshold"], lambda image: image)
    calibration = good_scores.summarize(held, step, highest)
    rate = float(manifest.measured["threshold"]["wished"])
    found: dict[str, Any] = {"images": {part: len(each) for part, each in pixels.items()}, "rate": rate, "changes": {}}
    for (kind, strength), changes in CHANGES.items():
        rows = []
        for change in changes:
            new, good, defect = (scores(pixels[part], change) for part in ("new", "good", "defect"))
            row: dict[str, Any] = {"auroc": auroc(good, defect), "shift": float(np.median(good) - np.median(held))}
            for _ in range(DRAWS):
                drawn = rng.permutation(new)[:NEW_IMAGES]
                own = independent_threshold.choose_threshold(drawn, step, rate, highest)
                moved = manifest.threshold + float(np.median(drawn)) - calibration.median
                low, high = np.quantile(drawn, good_scores.BAND)
                ratio = (high - low) / max(calibration.band[1] - calibration.band[0], step)
                scaled = float(np.median(drawn)) + (manifest.threshold - calibration.median) * ratio
                both = own.score if own.method == "conformal" else max(own.score, moved)
                levels = (manifest.threshold, moved, scaled, both, own.score)
                for way, level in zip(WAYS, levels, strict=True):
                    row.setdefault(f"false {way}", []).append(float((good >= level).mean()))
                    row.setdefault(f"detected {way}", []).append(float((defect >= level).mean()))
            rows.append({key: float(np.mean(value)) for key, value in row.items()})
        found["changes"][f"{kind} {strength}"] = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
    tested = scores(read(images["test"], 10_000), lambda image: image)
    found["p"] = uniformity(calibration, held, tested)
    return found


def uniformity(calibration: good_scores.GoodScores, held: Array, tested: Array) -> dict[str, Any]:
    """How uniform the p-values of good test images are."""
    values = np.array([calibration.p_value(score) for score in tested])
    comparison = stats.ks_2samp(held, tested)
    shares = {}
    for level in (0.05, 0.1, 0.2, 0.5):
        count = int((values <= level).sum())
        interval = stats.binomtest(count, len(values)).proportion_ci(0.95, "exact")
        shares[str(level)] = [count / len(values), float(interval.low), float(interval.high)]
    return {
        "held": len(held),
        "tested": len(tested),
        "distance": float(comparison.statistic),
        "probability": float(comparison.pvalue),
        "shares": shares,
    }


def tables(found: dict[str, Any]) -> str:
    """What every set and the mean lose, as Markdown."""
    lines = []
    changes = [" ".join(map(str, key)) for key in CHANGES]
    columns = {"AUROC": "auroc", "false alarms": "false build", "detected": "detected build"}
    for way in WAYS[1:]:
        columns |= {f"false alarms, {way}": f"false {way}", f"detected, {way}": f"detected {way}"}
    lines += ["### Mean of the sets\n", "| change | " + " | ".join(columns) + " |", "|" + " --- |" * (len(columns) + 1)]
    for change in changes:
        means = [np.mean([each["changes"][change][key] for each in found.values()]) for key in columns.values()]
        lines.append(f"| {change} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    for title, key in (
        ("AUROC", "auroc"),
        ("False alarms", "false build"),
        ("False alarms after recalibration", "false conformal"),
    ):
        lines += [
            f"\n### {title} by set\n",
            "| change | " + " | ".join(found) + " |",
            "|" + " --- |" * (len(found) + 1),
        ]
        for change in changes:
            cells = " | ".join(f"{each['changes'][change][key]:.3f}" for each in found.values())
            lines.append(f"| {change} | {cells} |")
    lines += ["\n### p-values of good test images\n"]
    lines += ["| set | threshold images | test images | distance | probability | at most 0.05 | 0.1 | 0.2 | 0.5 |"]
    lines.append("|" + " --- |" * 9)
    for name, each in found.items():
        p = each["p"]
        shares = " | ".join(f"{share:.3f} ({low:.3f} … {high:.3f})" for share, low, high in p["shares"].values())
        figures = f"{p['held']} | {p['tested']} | {p['distance']:.3f} | {p['probability']:.3f}"
        lines.append(f"| {name} | {figures} | {shares} |")
    return "\n".join(lines) + "\n"


def read_options(description: str, **counts: int) -> Any:
    """The options of the command line; `counts` are options of the caller, with their defaults."""
    parser = bench_options.make_parser(description, "light")
    for name, count in ({"images": 80, "seed": 0} | counts).items():
        parser.add_argument(f"--{name}", type=int, default=count)
    parser.add_argument("--unvaried", action="store_true")
    return bench_options.parse(parser)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    main()
