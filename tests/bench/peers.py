"""`make bench-peers`: post-training quantisation by ours and by others, of the same float models, side by side.

Every tool gets the same float ONNX file and the same calibration images (`subjects.py`), and runs in an environment of
its own (build/bench/NAME-venv, made by the Makefile) through a small script (`peer_NAME.py`). What each wrote is then
run by the same back ends, ONNX Runtime or LiteRT, on one thread; files of OpenVINO, MNN and ExecuTorch run in their
own, in its environment, and are there for reference:

- cosine: between its outputs and the float model's, of each held-out image, several outputs counting alike; mean and
  least.
- top-1: how often the likeliest class is the float model's. AUROC: of the cells, by the score.
- times as fast: processor time of the float model in ONNX Runtime against that of the file, the model alone on a ready
  input; every file waits in a process of its own and they run in turn (`turns.py`). Median of the turns' ratios, and
  between which 80 % of them lie.
- instructions: counted on emulated Arm cores where `make count-arm64` has left build/arm64; else (~) what the profiles
  predict, for our own networks, float and quantised by us alone: they were fitted to no other graphs.
- seconds: of processor time, from calibration to the written file, libraries loaded. Bytes: of the file.

Nobody's settings were chosen by the held-out images. Bundles that `compressors.py` left for seed 0 are run, too: the
same division of cells, but designs and fits of their own, so their cosine means nothing.

What has been quantised is not quantised again: remove build/bench/peers to begin anew. Options: --data ROOT (or
VEDETTE_BENCH_DATA), --subjects a,b, --limit SECONDS of one tool on one model, --out FOLDER. It leaves peers.json and
peers.md in the folder.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import sets
import subjects
from files import File, parts
from measures import CORES, ELSEWHERE, ENVIRONMENT, counted, figures, predict, python, timed

from vedette.devices import read_host_profile
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


class Way(NamedTuple):
    """A tool, and how it is asked."""

    tool: str
    script: str
    way: str
    shown: str
    files: tuple[str, ...] = (".onnx",)
    venv: str = ""
    """Where it is not the script's."""


OURS = (".onnx", ".tflite")
TORCH = ("nncf_torch", "executorch")
"""Scripts that start from a torch module."""
NOTHING = "–"
CAUSE = re.compile(r"^(?:\w+\.)*(\w*(?:Error|Exception|Problem|UnsupportedOperator)\b.*)", re.MULTILINE)
WAYS = (
    Way("onnx2tf", "onnx2tf", "float", "float, for LiteRT", (".tflite",)),
    Way("vedette", "vedette", "plain", "default recipe", OURS),
    Way("vedette", "vedette", "bias", "bias correction", OURS),
    Way("vedette", "vedette", "learned", "learned rounding, bias correction", OURS),
    Way("onnxruntime", "onnxruntime", "default", "as it comes (s8, per tensor)"),
    Way("onnxruntime", "onnxruntime", "minmax", "u8/s8 per channel, minmax"),
    Way("onnxruntime", "onnxruntime", "percentile", "u8/s8 per channel, percentile"),
    Way("onnxruntime", "onnxruntime", "entropy", "u8/s8 per channel, entropy"),
    Way("NNCF", "nncf", "performance", "performance preset"),
    Way("NNCF", "nncf", "mixed", "mixed preset"),
    Way("NNCF", "nncf", "bias", "mixed preset, full bias correction"),
    Way("NNCF, torch path", "nncf_torch", "performance", "performance preset", venv="nncf-torch"),
    Way("NNCF, torch path", "nncf_torch", "mixed", "mixed preset", venv="nncf-torch"),
    Way("Olive", "olive", "static", "static, u8/s8 per channel"),
    Way("AIMET", "aimet", "minmax", "per channel, minmax"),
    Way("AIMET", "aimet", "adaround", "AdaRound, 1,000 steps"),
    Way("litert-quantizer", "litert", "static", "static_wi8_ai8", (".tflite",)),
    Way("onnx2tf", "onnx2tf", "per-channel", "integers, per channel", (".tflite",)),
    Way("onnx2tf", "onnx2tf", "per-tensor", "integers, per tensor", (".tflite",)),
    Way("TensorFlow", "onnx2tf", "tensorflow", "TFLiteConverter, per channel", (".tflite",), "tensorflow"),
    Way("MNN", "mnn", "float", "float", (".mnn",)),
    Way("MNN", "mnn", "kl", "KL divergence", (".mnn",)),
    Way("MNN", "mnn", "ema", "moving average", (".mnn",)),
    Way("ExecuTorch, XNNPACK", "executorch", "float", "float", (".pte",)),
    Way("ExecuTorch, XNNPACK", "executorch", "per-tensor", "PT2E, weights per tensor", (".pte",)),
    Way("ExecuTorch, XNNPACK", "executorch", "per-channel", "PT2E, weights per channel", (".pte",)),
    Way("OpenVINO", "openvino", "float", "float", (".xml",)),
    Way("OpenVINO", "openvino", "bfloat16", "float, in bfloat16 where the processor can", (".xml",)),
    Way("OpenVINO, NNCF", "openvino", "performance", "performance preset", (".xml",)),
    Way("OpenVINO, NNCF", "openvino", "mixed", "mixed preset", (".xml",)),
    Way("OpenVINO, NNCF", "openvino", "bias", "mixed preset, full bias correction", (".xml",)),
)


def main() -> None:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "peers.json"
    found: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {"subjects": {}}
    host = read_host_profile()
    found |= {"machine": host.cpu, "features": host.features}
    for name in options.subjects:
        folder = options.out / "peers" / name
        try:
            about = subjects.prepare(name, options.data, folder)
        except sets.Absent as reason:
            click.echo(f"{name}: skipped, {reason}", err=True)
            continue
        found["subjects"][name] = compare(name, about, folder, options)
        path.write_text(json.dumps(found, indent=1) + "\n")
        (options.out / "peers.md").write_text(table(found))
    click.echo(table(found))


def compare(name: str, about: dict[str, Any], folder: Path, options: Any) -> dict[str, Any]:
    """A row for each file, and for each tool that made none."""
    rows: list[dict[str, Any]] = [{"tool": "", "way": "float", "file": "float.onnx", "seconds": None}]
    for each in WAYS:
        click.echo(f"{name}: {each.tool}, {each.way}", err=True)
        rows += quantised(each, about, folder, options)
    rows += bundles(about, folder, options.out) if name == "elpv" else []
    held = np.load(about["held"])
    truth = [parts(File(folder / "float.onnx", about)(image[None])) for image in held]
    for row in rows:
        if "failed" not in row:
            click.echo(f"{name}: {row['file']}", err=True)
            try:
                path = folder / row["file"]
                row.update(figures(path, truth, held, about, python(path, options.out)))
            except Exception as error:  # noqa: BLE001  # each library has its own
                said = " ".join(str(error).replace(f"{folder}/", "").split())
                row["failed"] = f"its file does not run: {said[:200]}"
    alive = {row["file"]: row for row in rows if "failed" not in row}
    timed(alive, folder, about, held, options.out)
    for core in CORES:
        for file, count in counted(
            [folder / each for each in alive if Path(each).suffix not in ELSEWHERE],
            core,
            options.out.parent / "arm64",
            folder,
        ).items():
            alive[file][core] = count
    if not about.get("own"):
        predict(rows, folder)
    return {"metric": about["metric"], "images": about["images"], "rows": rows}


def quantised(each: Way, about: dict[str, Any], folder: Path, options: Any) -> list[dict[str, Any]]:
    """Has a tool do its work, unless it has; a row for each file, or the reason why there is none."""
    venv = ROOT / ".venv" if each.script == "vedette" else options.out / f"{each.venv or each.script}-venv"
    interpreter, out = venv / "bin" / "python", folder / f"{each.script}-{each.way}"
    row: dict[str, Any] = {"tool": each.tool, "way": each.shown}
    if each.script in TORCH and "module" not in about:
        return [row | {"failed": "not run: there is no torch module of it, only the ONNX file"}]
    told, log = Path(f"{out}.json"), Path(f"{out}.log")
    if not told.is_file():
        if not interpreter.is_file():
            return [row | {"failed": f"not run: no {venv.name}"}]
        job = {**about, "way": each.way, "own": about.get("own", False), "out": str(out)}
        job["tflite"] = str(folder / "onnx2tf-float.tflite")
        Path(f"{out}.job").write_text(json.dumps(job))
        with log.open("w") as said:
            run = partial(subprocess.run, stdout=said, stderr=said, env=ENVIRONMENT, check=False)
            try:
                done = run([interpreter, HERE / f"peer_{each.script}.py", f"{out}.job"], timeout=options.limit)
            except subprocess.TimeoutExpired:
                return [row | {"failed": f"did not finish in {options.limit} s"}]
        if done.returncode:
            causes = CAUSE.findall(log.read_text())
            text = causes[0] if causes else f"ended with code {done.returncode}"
            told.write_text(json.dumps({"failed": f"failed: {text[:200]}"}))
    facts = json.loads(told.read_text())
    if "failed" in facts:
        return [row | facts]
    return [row | facts | {"file": f"{out.name}{suffix}"} for suffix in each.files]


def bundles(about: dict[str, Any], folder: Path, out: Path) -> list[dict[str, Any]]:
    """What a search made of the cells, where `compressors.py` has left it."""
    rows = []
    for path in sorted(out.glob("elpv-pi?.vedette")):
        bundle = Bundle.open(path, Keyring.read(out / "keys"))
        spec = bundle.manifest.input
        np.save(folder / f"{path.stem}.npy", subjects.seen([Path(each) for each in about["paths"]], spec))
        for model, suffix in (("onnx", ".onnx"), ("tflite", ".tflite")):
            (folder / f"{path.stem}{suffix}").write_bytes(bundle.model(model))
            row = {"tool": "vedette", "way": f"searched for {path.stem.removeprefix('elpv-')}, {spec.width} pixels"}
            rows.append(row | {"file": f"{path.stem}{suffix}", "seconds": None, "pixels": f"{path.stem}.npy"})
    return rows


def table(found: dict[str, Any]) -> str:
    """The rows as Markdown, a table for each subject; columns in which nothing stands are left out."""
    text = f"{found['machine']}: {', '.join(found['features'])}\n"
    for name, subject in found["subjects"].items():
        heads = ["tool", "way", "file", "cosine", "least", subject["metric"], "times as fast", "A72", "A76", "kB", "s"]
        lines = [heads, ["---"] * len(heads)]
        for row in subject["rows"]:
            cells = [row["failed"]] + [""] * (len(heads) - 3) if "failed" in row else _cells(row)
            lines += [[row["tool"], row["way"], *cells]]
        columns = [each for each in zip(*lines, strict=True) if set(each[2:]) - {"", NOTHING}]
        text += f"\n{name}, {subject['images'][0]} images calibrate, {subject['images'][1]} test\n\n"
        text += "".join(f"| {' | '.join(line)} |\n" for line in zip(*columns, strict=True))
    return text


def _cells(row: dict[str, Any]) -> list[str]:
    def number(key: str, form: str, scale: float = 1) -> str:
        return NOTHING if row.get(key) is None else format(row[key] / scale, form)

    def instructions(core: str) -> str:
        return (
            number(core, ".1f", 1e6) if core in row or f"~{core}" not in row else "~" + number(f"~{core}", ".1f", 1e6)
        )

    low, high = row["spread"]
    cells = [Path(row["file"]).suffix[1:], number("cosine", ".4f"), number("least", ".4f"), number("task", ".3f")]
    cells += [f"{row['faster']:.2f} ({low:.2f}–{high:.2f})", *(instructions(core) for core in CORES)]
    return [*cells, number("bytes", ".0f", 1e3), number("seconds", ".1f")]


def _options() -> Any:
    parser = argparse.ArgumentParser(description="Post-training quantisation by ours and by others.")
    data = os.environ.get("VEDETTE_BENCH_DATA", ROOT.parent / "shared" / "data")
    parser.add_argument("--data", type=Path, default=Path(data))
    parser.add_argument("--subjects", type=lambda text: text.split(","), default=list(subjects.MAKERS))
    parser.add_argument("--limit", type=int, default=1800)
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "bench")
    options = parser.parse_args()
    options.data, options.out = options.data.resolve(), options.out.resolve()
    return options


if __name__ == "__main__":
    main()
