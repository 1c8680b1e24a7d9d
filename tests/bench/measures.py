"""What is measured of a quantised file for `peers.py`: nearness to the float model, speed, instructions."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import onnx
import turns
from files import Array, File, parts

from vedette import devices
from vedette.compress.cost import operator_counts
from vedette.runtime.evaluation.metrics import auroc

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1"}
CORES = {"cortex-a72": "pi4", "cortex-a76": "pi5"}
ELSEWHERE = {".xml": "openvino", ".mnn": "mnn", ".pte": "executorch"}
"""Files that run in an environment of their own."""
sys.path.insert(0, str(HERE / "arm64"))


def python(path: Path, out: Path) -> Path:
    """What runs a file: this environment, or that of its own runtime."""
    venv = ELSEWHERE.get(path.suffix)
    return out / f"{venv}-venv" / "bin" / "python" if venv else Path(sys.executable)


def figures(
    path: Path, truth: list[dict[int, Array]], held: Array, about: dict[str, Any], interpreter: Path
) -> dict[str, Any]:
    """How near a file is to the float model on the held-out images.

    Raises:
        RuntimeError, ValueError, KeyError: it does not run, or gives other outputs.
    """
    own = path.with_suffix(".npy")
    searched = own.is_file()
    if path.suffix in ELSEWHERE:
        given = _elsewhere(path, about, interpreter)
    else:
        file = File(path, about)
        given = [file(image[None]) for image in (np.load(own) if searched else held)]
    outputs = [parts(each, None if searched else like) for each, like in zip(given, truth, strict=True)]
    weights = path.with_suffix(".bin")
    found: dict[str, Any] = {"bytes": path.stat().st_size + (weights.stat().st_size if weights.is_file() else 0)}
    if not searched:
        each = [_cosine(got, like) for got, like in zip(outputs, truth, strict=True)]
        found |= {"cosine": float(np.mean(each)), "least": float(np.min(each))}
    if about["metric"] == "top-1":
        best = [(got[1000].argmax(), like[1000].argmax()) for got, like in zip(outputs, truth, strict=True)]
        found["task"] = float(np.mean([one == other for one, other in best]))
    if about["metric"] == "AUROC":
        scores = np.array([got[1].item() for got in outputs])
        found["task"] = auroc(scores[: about["good"]], scores[about["good"] :])
    return found


def _elsewhere(path: Path, about: dict[str, Any], interpreter: Path) -> list[list[Array]]:
    """The outputs of each held-out image, run in another environment."""
    said, out = path.with_suffix(".held.json"), path.with_suffix(".npz")
    said.write_text(json.dumps(about))
    command = [str(interpreter), str(HERE / "files.py"), str(path), str(said), str(out)]
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr[-200:])
    with np.load(out) as arrays:
        each = [arrays[name] for name in arrays.files]
    out.unlink()
    return [list(outputs) for outputs in zip(*each, strict=True)]


def _cosine(got: dict[int, Array], like: dict[int, Array]) -> float:
    found = []
    for size, each in like.items():
        if size > 1:
            one, other = got[size].ravel().astype(np.float64), each.ravel().astype(np.float64)
            found.append(one @ other / max(np.linalg.norm(one) * np.linalg.norm(other), 1e-12))
    return float(np.mean(found))


def timed(rows: dict[str, dict[str, Any]], folder: Path, about: dict[str, Any], held: Array, out: Path) -> None:
    """Adds milliseconds, and the ratio to the float model, all files in turn."""
    commands = {}
    for file, row in rows.items():
        own = row.get("pixels")
        frame = folder / f"frame{'-' + own if own else '.npy'}"
        np.save(frame, (np.load(folder / own) if own else held)[:1])
        said = frame.with_suffix(".json")
        said.write_text(json.dumps({**about, "frame": str(frame)}))
        commands[file] = [str(python(folder / file, out)), str(HERE / "files.py"), str(folder / file), str(said)]
    taken = turns.take(commands, ENVIRONMENT)
    exact = np.array(taken["float.onnx"]["turns"])
    for file, row in rows.items():
        ratios = exact / np.array(taken[file]["turns"])
        row |= {"ms": taken[file]["ms"], "faster": float(np.median(ratios))}
        row["spread"] = [float(each) for each in np.quantile(ratios, (0.1, 0.9))]


def counted(files: list[Path], core: str, arm64: Path, folder: Path) -> dict[str, int]:
    """Instructions of one inference on an emulated core; what was counted once is remembered."""
    cache = folder / "counts.json"
    known = json.loads(cache.read_text()) if cache.is_file() else {}
    keys = {path: f"{core} {hashlib.sha256(path.read_bytes()).hexdigest()}" for path in files}
    missing = [path for path in files if keys[path] not in known]
    if missing and (arm64 / core).is_dir():
        from count import count

        by_name = {str(path.resolve()): keys[path] for path in missing}
        try:
            for each in count(arm64, core, missing):
                known[by_name[each.model]] = each.instructions
                cache.write_text(json.dumps(known))
        except SystemExit as reason:
            click.echo(f"not all were counted: {str(reason)[-200:]}", err=True)
    return {path.name: known[key] for path, key in keys.items() if key in known}


def predict(rows: list[dict[str, Any]], folder: Path) -> None:
    """Adds the instructions of what was not counted and can be known: graphs like those that costs were fitted to."""
    for row in rows:
        if "failed" not in row and row["tool"] in ("", "vedette"):
            path = folder / row["file"]
            graph, backend = onnx.load(path.with_suffix(".onnx")), path.suffix[1:]
            for core, profile in CORES.items():
                found = operator_counts.predict_cost(devices.load_profile(profile), graph, backend)
                if core not in row and found is not None:
                    row[f"~{core}"] = found.instructions
