"""MNN: its converter, and its quantizer of a converted file.

float    no quantization
kl       activations by Kullback-Leibler divergence, weights by their largest value: what its manual names first
ema      activations by a moving average of their extremes, weights as above

ADMM, which its manual has for both, had done 8 % of the classifier after three minutes.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import _tools
import cv2
import job
import numpy as np


def quantise(told: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        plain = f"{told['out']}.mnn" if told["way"] == "float" else f"{folder}/float.mnn"
        _tools.mnnconvert(
            ["mnnconvert", "-f", "ONNX", "--modelFile", told["float"], "--MNNModel", plain, "--bizCode", "bench"]
        )
        if told["way"] == "float":
            return
        images = Path(folder, "images")
        images.mkdir()
        pixels = np.load(told["pixels"])
        for number, each in enumerate(pixels):
            cv2.imwrite(str(images / f"{number:04d}.png"), each[..., ::-1])
        config = {
            "format": "RGB",
            "mean": [told["mean"]] * 3,
            "normal": [1 / told["std"]] * 3,
            "width": pixels.shape[2],
            "height": pixels.shape[1],
            "path": f"{images}/",
            "used_image_num": len(pixels),
            "feature_quantize_method": told["way"].upper(),
            "weight_quantize_method": "MAX_ABS",
        }
        asked = Path(folder, "config.json")
        asked.write_text(json.dumps(config))
        _tools.mnnquant(["mnnquant", plain, f"{told['out']}.mnn", str(asked)])  # its own command crashes


if __name__ == "__main__":
    job.run(quantise, "MNN")
