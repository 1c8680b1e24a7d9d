"""End to end on real images: the demo, development sets if present, and the old TFLite runtime."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import elpv_dataset.utils
import numpy as np
import pytest
from paths import ROOT, SHARED

from vedette.compress.demo import solar_cells


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cookies", "aliens", "ballscrew"])
def test_build_verify_and_run_on_real_images(name, tmp_path, run_vedette):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the development images {name} are not beside the project")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    goal = ROOT / "tests" / "goals" / f"{name}.toml"
    done = run_vedette("build", goal, "--out", tmp_path, "--json", **home)
    assert done.returncode == 0, done.stdout + done.stderr
    facts = json.loads(done.stdout)
    assert facts["parity_max_steps"] <= 1
    assert facts["bytes_int8_onnx"] <= 0.35 * facts["bytes_fp32"]
    assert facts["bytes_int8_tflite"] <= 0.35 * facts["bytes_fp32"]
    assert (facts["pixel_auroc"] is not None) == (name == "cookies")

    verified = run_vedette("verify", facts["bundle"], "--data", SHARED / name, "--json", **home)
    assert verified.returncode == 0, verified.stderr
    assert json.loads(verified.stdout)["auroc_int8_onnx"] > 0.75

    config = tmp_path / "config"
    (config / "cameras").mkdir(parents=True)
    (config / "vedette.toml").write_text('[broker]\nurl = "stdout:"\n')
    threshold = facts["threshold"]["score"] / 2  # low enough for events on every data set
    (config / "cameras" / "line.toml").write_text(
        f'source = "file:{SHARED / name / "defect"}?fps=0"\nbundle = "{facts["bundle"]}"\n'
        f'[[rules]]\nuse = "presence"\nthreshold = {threshold}\n'
    )
    run = run_vedette("run", "line", "--config", config, **home)
    assert run.returncode == 0, run.stderr
    events = [json.loads(text) for text in run.stdout.splitlines()]
    assert events
    assert {event["data"]["kind"] for event in events} <= {"new", "update", "end"}


MODELS = {
    "yolox": ('onnx = "yolox_nano/yolox_nano_416_coco.onnx"', 0.48),
    "nanodet": ('onnx = "nanodet/nanodet_m_320.onnx"', 0.45),
    "fastestdet": ('onnx = "fastestdet/FastestDet_352.onnx"', 0.30),
    "ssd": ('tflite = "ssd_mobilenet_v1/ssd_mobilenet_v1_coco_uint8_300.tflite"', 0.35),
}


@pytest.mark.slow
@pytest.mark.parametrize("family", MODELS)
def test_int8_detector_keeps_float_map50(family, tmp_path, run_vedette):
    """The float model reaches its published mAP50, and both int8 models are within 0.025 of it."""
    if not (SHARED / "coco128").is_dir():
        pytest.skip("the development images coco128 are not beside the project")
    home = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": ""}
    model, min_map50 = MODELS[family]
    goal = tmp_path / "goal.toml"
    goal.write_text(
        f'name = "{family}"\ntask = "detect"\n[data]\nimages = "{SHARED}/coco128/images"\n'
        f'labels = "{SHARED}/coco128/labels"\n[model]\n{model.replace(chr(34), chr(34) + f"{SHARED}/models/", 1)}\n'
        f'family = "{family}"\n'
    )
    done = run_vedette("build", goal, "--out", tmp_path, "--json", seconds=3600.0, **home)  # one model is fine-tuned
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["parity_max_steps"] <= 1
    done = run_vedette("verify", tmp_path / f"{family}.vedette", "--data", SHARED / "coco128", "--json", **home)
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["map50_float"] > min_map50
    for name in ("map50_int8_onnx", "map50_int8_tflite"):
        assert report[name] > report["map50_float"] - 0.025


FIGURES = {
    *(f"{what}_{model}" for what in ("auroc", "ms", "bytes") for model in ("fp32", "int8_onnx", "int8_tflite")),
    *("parity_max_steps", "frames", "events_published", "events_received", "hits", "misses", "false_alarms"),
    *("bytes_published", "bytes_frames", "bundle"),
}


def check_demo(vedette: Callable[..., Any], folder: Path, defective: int) -> dict[str, Any]:
    """Runs the demonstration in `folder`/demo and returns its figures.

    For any cells, int8 is as good as float, and every event arrives; a hit or a miss belongs to each defective cell.
    """
    figures = folder / "figures.json"
    done = vedette("demo", "--fps", "0", "--out", folder / "demo", "--json", figures, HOME=str(folder))
    assert done.returncode == 0, done.stderr
    assert "vedette.presence.new" in done.stdout
    found: dict[str, Any] = json.loads(figures.read_text())
    assert set(found) == FIGURES
    assert abs(found["auroc_fp32"] - found["auroc_int8_onnx"]) <= 0.01
    assert abs(found["auroc_fp32"] - found["auroc_int8_tflite"]) <= 0.01
    assert found["parity_max_steps"] <= 1
    assert found["bytes_int8_onnx"] <= 0.35 * found["bytes_fp32"]
    assert found["bytes_int8_tflite"] <= 0.35 * found["bytes_fp32"]
    assert found["events_received"] == found["events_published"] > 0
    assert found["hits"] + found["misses"] == defective
    assert Path(found["bundle"]).exists()
    return found


@pytest.mark.slow
def test_demo_of_few_cells_shows_events(tmp_path, monkeypatch, call_vedette):
    """The whole demonstration with every sixth cell and a small model; its bundle is verified on these cells."""
    images, probabilities, types = elpv_dataset.utils.load_dataset()
    types = np.where(np.arange(len(types)) % 6, "left out", types)
    monkeypatch.setattr(elpv_dataset.utils, "load_dataset", lambda: (images, probabilities, types))
    small = '[model]\ndetector = "padim"\ninput = 128\n[inspect]\nalign = "none"\n'
    monkeypatch.setattr(solar_cells, "GOAL", solar_cells.GOAL + small)
    found = check_demo(call_vedette, tmp_path, defective=57)
    assert found["auroc_int8_onnx"] >= 0.7
    assert found["bytes_published"] < 0.02 * found["bytes_frames"]
    assert found["hits"] > 10
    out = tmp_path / "demo"
    done = call_vedette("verify", found["bundle"], "--data", out, "--keys", out / "keys", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert (report["good"], report["defect"]) == (94, 57)
    assert report["auroc_int8_onnx"] == pytest.approx(report["auroc_int8_tflite"], abs=0.01)


@pytest.mark.slow
def test_demo_reaches_its_documented_figures(tmp_path, run_vedette):
    """One seed of the documented figures; the benchmarks measure times."""
    found = check_demo(run_vedette, tmp_path, defective=313)
    assert found["auroc_int8_onnx"] >= 0.89
    assert found["bytes_published"] < 0.01 * found["bytes_frames"]
    assert found["hits"] > 100


@pytest.mark.slow
@pytest.mark.skipif(sys.version_info[:2] != (3, 11), reason="tflite-runtime 2.14 has no wheels beyond Python 3.11")
def test_old_tflite_runtime_reproduces_golden_outputs(tmp_path, anomaly_build, key_folder, wheel):
    """A virtual environment without LiteRT verifies the same bundle."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv" / "bin" / "python"
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--python", python]
    subprocess.run([*pip, "install", "--no-compile", f"{wheel}[tflite-runtime]"], check=True)
    subprocess.run([*pip, "uninstall", "--yes", "ai-edge-litert"], check=True)
    command = [python, "-m", "vedette.runtime.cli", "verify", anomaly_build.bundle, "--keys", key_folder, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    golden = json.loads(done.stdout)["golden"]
    assert golden["tflite"]["version"] == "tflite-runtime 2.14.0"
    assert golden["tflite"]["reproduced"]
    assert golden["onnx"]["max_steps"] == 0
