"""`make bench-build`: what a build costs by stage, and how its time and memory grow with the number of images.

Sets of each size are made from the solar cells (package `elpv-dataset`) or from a folder with `good/` and `defect/`:
the images in turn, and from the second round on each shifted by up to SHIFT pixels, with a gain of 1 ± GAIN and noise
of NOISE levels, so that no image is a copy of another. A tenth of the images is defective. Variations of an image stay
in its group.

`--still` makes the worst case of the audit instead: one part before a camera that does not move, so that all perceptual
hashes agree. Each picture has its own noise; with `--still light` also a gain, and all pictures are near copies. Such a
set is audited, not built.

Each set is built in a process of its own: seconds and processor seconds of each stage, peak of the resident memory. It
prints the table and leaves `build_time.json` in the folder.

Options: --sizes 400,2000, --images FOLDER, --still noise|light, --limit SECONDS, --out FOLDER.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import sets
from numpy.typing import NDArray

ROOT = Path(__file__).parents[2]
SHIFT, GAIN, NOISE = 6, 0.1, 2.0
DEFECTIVE_SHARE = 0.1
SIZES = [400, 2000, 10_000, 20_000]
STILL_NOISE = 3.0
GOAL = """\
name = "set"
task = "anomaly"
[data]
good = "good"
defect = "defect"
group = '^(block\\d+)'
[goal]
min_auroc = 0.5
"""
# The stage that begins with a line of the log, or with the loop of this label, or after it.
STAGES = {
    "auditing": "audit: decode, measure, embed",
    "after audit": "audit: copies, outliers, labels; split",
    "training": "read the images, draw defects",
    "reading": "read the images, draw defects",
    "after reading": "read the images, draw defects",
    "float features at": "trials: features",
    "trying designs": "trials: fits",
    "after trying designs": "fit: float features",
    "float features": "fit: float features",
    "after float features": "fit: float model, export, quantization",
    "int8 features": "fit: int8 features",
    "after int8 features": "fit: int8 model",
    "choosing": "threshold",
    "evaluating": "evaluation",
    "measuring": "error of each layer",
    "writing": "report, bundle",
}


def main() -> None:
    options = _options()
    if options.child:
        click.echo(json.dumps(_measure(Path(options.child), audit_only=bool(options.still))))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    source = options.images or sets._cells("mono", options.out / "elpv-mono")
    found: list[dict[str, Any]] = []
    for size in options.sizes:
        folder = options.out / f"{options.still or 'set'}-{size}"
        shutil.rmtree(folder, ignore_errors=True)
        make_set(source, size, folder, options.still)
        found.append({"images": size, **_measure_apart(folder, options)})
        shutil.rmtree(folder)
        (options.out / "build_time.json").write_text(json.dumps(found, indent=1))
    click.echo(table(found))


def _measure_apart(folder: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", str(folder)]
    command += ["--still", options.still] if options.still else []
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=options.limit, check=False)
    except subprocess.TimeoutExpired:
        return {"error": f"not finished in {options.limit} s"}
    measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {}
    return measured or {"error": done.stderr[-2000:]}


def make_set(source: Path, count: int, folder: Path, still: str = "") -> None:
    """Writes `count` images into `folder/good` and `folder/defect`, and the goal file."""
    rng = np.random.default_rng(0)
    shares = {"good": count - round(DEFECTIVE_SHARE * count), "defect": round(DEFECTIVE_SHARE * count)}
    for label, number in shares.items():
        (folder / label).mkdir(parents=True)
        paths = sorted((source / label).iterdir())
        for index in range(number):
            path = sorted((source / "good").iterdir())[0] if still else paths[index % len(paths)]
            image = cv2.imread(str(path))
            assert image is not None
            repeat = index // len(paths)
            if still:
                gain = rng.uniform(0.7, 1.0) if still == "light" else 1.0
                image = vary(image, 0, gain, STILL_NOISE, rng)
                if label == "defect":
                    x, y = rng.integers(40, image.shape[1] - 40, 2)
                    cv2.circle(image, (int(x), int(y)), 6, (20, 20, 20), -1)
            elif repeat:
                image = vary(image, SHIFT, rng.uniform(1 - GAIN, 1 + GAIN), NOISE, rng)
            name = f"{index:05d}.png" if still else f"{path.stem}-{repeat:03d}.png"
            cv2.imwrite(str(folder / label / name), image)
    (folder / "goal.toml").write_text(GOAL)


def vary(image: NDArray[Any], shift: int, gain: float, noise: float, rng: np.random.Generator) -> NDArray[Any]:
    """The image shifted, with a gain and noise: H x W x 3, uint8."""
    right, down = rng.integers(-shift, shift + 1, 2) if shift else (0, 0)
    matrix = np.array([[1, 0, right], [0, 1, down]], np.float32)
    moved = cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)
    return (moved * gain + rng.normal(0, noise, image.shape)).clip(0, 255).astype(np.uint8)


class Stages:
    """Seconds, processor seconds and peak memory until the end of each stage; a build's `log` and `progress`."""

    def __init__(self) -> None:
        self.spent: dict[str, list[float]] = {}
        self.stage, self.since = "start", (time.monotonic(), 0.0)

    def mark(self, text: str) -> None:
        """Begins the stage of this line or label; others stay in the present one."""
        names = [stage for beginning, stage in STAGES.items() if text.startswith(beginning)]
        now = time.monotonic(), time.process_time()
        total = self.spent.setdefault(self.stage, [0.0, 0.0, 0])
        total[0] += now[0] - self.since[0]
        total[1] += now[1] - self.since[1]
        total[2] = peak_megabytes()
        self.stage, self.since = names[0] if names else self.stage, now

    def progress(self, items: Iterable[Any], label: str) -> Iterator[Any]:
        """Begins the stage of a loop, and afterwards the one that follows it, or goes back to the outer loop's."""
        before = self.stage
        self.mark(label)
        yield from items
        if label.startswith("float features at"):
            self.mark(next(text for text, stage in STAGES.items() if stage == before))
        else:
            self.mark(f"after {label}")


def _measure(folder: Path, audit_only: bool) -> dict[str, Any]:
    stages = Stages()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from vedette.compress import build
    from vedette.compress.data.labeled_images import find_images
    from vedette.compress.data.split import audit_labeled_images

    about: dict[str, Any] = {}
    if audit_only:
        goal, _ = build.read_goal(folder / "goal.toml")
        audit_labeled_images(find_images(goal.data, folder), folder, stages.progress, stages.mark)
    else:
        request = build.BuildRequest(folder / "goal.toml", folder / "out", Ed25519PrivateKey.generate())
        result = build.build(request, stages.progress, stages.mark)
        about = {"auroc": result.results.int8_metric, "auroc_float": result.results.float_metric}
        about["design"] = result.manifest.measured["detector"], result.manifest.measured["blocks"]
        about["parts"] = result.manifest.measured["images"]
    stages.mark("end")
    return {"stages": stages.spent, "processor": time.process_time(), "megabytes": peak_megabytes(), **about}


def peak_megabytes() -> int:
    """The largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def table(found: list[dict[str, Any]]) -> str:
    """Processor seconds by stage, one column per size, as a Markdown table."""
    names = dict.fromkeys(stage for row in found for stage in row.get("stages", {}))
    lines = ["| images | " + " | ".join(f"{row['images']:,}" for row in found) + " |", "|---" * (len(found) + 1) + "|"]
    for name in names:
        values = [row.get("stages", {}).get(name, (0.0, 0.0))[1] for row in found]
        lines.append(f"| {name} | " + " | ".join(f"{value:.1f}" for value in values) + " |")
    for title, key in (("all, processor s", "processor"), ("peak MB", "megabytes")):
        lines.append(f"| {title} | " + " | ".join(f"{row.get(key, float('nan')):.0f}" for row in found) + " |")
    return "\n".join([*lines, *(f"{row['images']}: {row['error']}" for row in found if "error" in row)])


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=lambda text: [int(each) for each in text.split(",")], default=SIZES)
    parser.add_argument("--images", type=Path)
    parser.add_argument("--still", choices=("noise", "light"), default="")
    parser.add_argument("--limit", type=float, default=7200.0)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench" / "build-time")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
