"""What a script that quantises for `peers.py` is told, and what it tells: the same for every tool.

A script gets one argument, a JSON file:

    float    the float ONNX file, one input 1 x 3 x H x W, normalised
    tflite   the same in float as a TFLite file, where there is one
    pixels   calibration images, n x H x W x 3, uint8, as .npy
    mean, std, input, way    how a pixel becomes a real value, what the input is called, how to quantise
    out      what to write, without its suffix

It writes OUT.onnx or OUT.tflite, and OUT.json with the seconds of processor time from calibration to the file, its own
processes' included, libraries already loaded: other work on the machine does not change them as it does the clock's.
This module is imported in every environment, so it needs NumPy alone.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np


def images(job: dict[str, Any]) -> list[np.ndarray]:
    """The calibration images as the float ONNX file takes them, 1 x 3 x H x W, float32."""
    pixels = np.load(job["pixels"])
    return [
        ((each[None].astype(np.float32) - job["mean"]) / job["std"]).transpose(0, 3, 1, 2).copy() for each in pixels
    ]


def run(quantise: Callable[[dict[str, Any]], None], *packages: str) -> None:
    """Does the job that the command line names; `packages` are those whose versions count."""
    job = json.loads(Path(sys.argv[1]).read_text())
    start = sum(os.times()[:4])
    quantise(job)
    seconds = sum(os.times()[:4]) - start
    told = {"seconds": seconds, "versions": {name: version(name) for name in packages}}
    Path(f"{job['out']}.json").write_text(json.dumps(told))
