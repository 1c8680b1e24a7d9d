"""What each way of quantising leaves of EfficientNet-Lite0: agreement with the float model on images nobody trained on.

`quantisation.py [--data DIR] [--rows NAME ...] [--out DIR]`. Of 128 photographs (COCO128), every other file calibrates
and trains, the others test, each whole and as one random crop. The int8 model is what ONNX Runtime computes. A row that
build/bench/quantisation.json has already is not measured again, and training goes on where it was interrupted.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from lite0 import SPEC, images, model
from numpy.typing import NDArray

from vedette.compress.goal.recipe import QuantizationSettings
from vedette.compress.quantization.integer_simulation import IntegerSimulation
from vedette.compress.quantization.qat import normalize_images
from vedette.compress.quantization.quantize import convert, make_feeds, prepare
from vedette.runtime.inference.backends.onnx import EXACT_KERNELS_OPTION

ROWS: dict[str, dict[str, Any]] = {
    "minmax": {},
    "percentile": {"ranges": "percentile"},
    "mse": {"ranges": "mse"},
    "entropy": {"ranges": "entropy"},
    "equalise": {"equalize": True},
    "bias": {"bias_correction": True},
    "mse, bias": {"ranges": "mse", "bias_correction": True},
    "entropy, bias": {"ranges": "entropy", "bias_correction": True},
    "equalise, bias": {"equalize": True, "bias_correction": True},
    "learned, bias": {"rounding": "learned", "rounding_steps": 100, "bias_correction": True},
    "bias, qat 25": {"bias_correction": True, "qat_steps": 25},
    "bias, qat 100, 5e-5": {"bias_correction": True, "qat_steps": 100, "qat_learning_rate": 5e-5},
    "bias, qat 100": {"bias_correction": True, "qat_steps": 100},
}


def main(data: Path, out: Path, rows: list[str]) -> None:
    onnxruntime.set_default_logger_severity(3)
    path = out / "quantisation.json"
    done = json.loads(path.read_text()) if path.exists() else {}
    exact, (shown, kept) = model(), images(data)
    calibration = shown[::2]  # the whole pictures
    session = onnxruntime.InferenceSession(exact.SerializeToString(), providers=["CPUExecutionProvider"])
    truth = np.concatenate([session.run(None, feed)[0] for feed in make_feeds(exact, kept, SPEC)])
    for name in rows:
        if name not in done:
            started = time.monotonic()
            technique = QuantizationSettings(**ROWS[name])
            ready = prepare(
                technique,
                exact,
                calibration,
                SPEC,
                unlabeled_images=shown[1::2],
                checkpoint_folder=out / "quantisation",
            )
            int8 = convert(technique, ready, calibration, SPEC)
            took = time.monotonic() - started
            found = figures(truth, int8, kept) | {"minutes": round(took / 60, 1)}
            done[name] = found | {"simulation_steps": apart(IntegerSimulation(ready.model, int8), int8, kept[:8])}
            out.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(done, indent=1))
        print(f"{name:18}", *(f"{key} {value}" for key, value in done[name].items()), flush=True)  # noqa: T201


def integer_session(int8: onnx.ModelProto) -> Any:
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry(*EXACT_KERNELS_OPTION)
    return onnxruntime.InferenceSession(int8.SerializeToString(), options, providers=["CPUExecutionProvider"])


def figures(truth: NDArray[Any], int8: onnx.ModelProto, kept: list[NDArray[Any]]) -> dict[str, float]:
    """Cosine of the scores to the float ones, over the images, and how often the likeliest class is the same."""
    session = integer_session(int8)
    constants = {value.name: onnx.numpy_helper.to_array(value) for value in int8.graph.initializer}
    integers = np.concatenate([session.run(None, {"image": image})[0] for image in kept]).astype(np.float64)
    scores = (integers - float(constants["scores_zero_point"])) * float(constants["scores_scale"])
    lengths = np.linalg.norm(scores, axis=1) * np.linalg.norm(truth, axis=1)
    cosine = (scores * truth).sum(axis=1) / lengths
    same = scores.argmax(axis=1) == truth.argmax(axis=1)
    return {
        "cosine": round(float(cosine.mean()), 4),
        "least_cosine": round(float(cosine.min()), 4),
        "top1": round(float(same.mean()), 3),
    }


def apart(simulated: IntegerSimulation, int8: onnx.ModelProto, kept: list[NDArray[Any]]) -> int:
    """The largest difference between the simulation and ONNX Runtime, in integer steps of the outputs."""
    session, grid = integer_session(int8), simulated.activation_parameters["scores"]
    expected = np.concatenate([session.run(None, {"image": image})[0] for image in kept]).astype(int)
    with torch.inference_mode():
        made = (simulated(normalize_images(kept, SPEC))[0] / grid.scale + grid.zero_point).round().numpy().astype(int)
    return int(np.abs(made - expected).max())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/coco128/images"))
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    arguments = parser.parse_args()
    if not arguments.data.is_dir():
        sys.exit(f"{arguments.data}: no such folder; --data names one with photographs")
    main(arguments.data, arguments.out, arguments.rows)
