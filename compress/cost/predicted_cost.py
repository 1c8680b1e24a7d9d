"""What the finished int8 model will cost on its device, as far as that is known; for the manifest and the verdict.

The manifest also says what the model multiplies and how many instructions are predicted for each core that was
counted: with those, `vedette bench` on a device can tell milliseconds per instruction, which is what other models are
predicted by.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import onnx

from vedette import devices
from vedette.devices import DeviceProfile, Prediction
from vedette.runtime.bundle.manifest import Manifest

from . import operator_counts

BACKENDS = ("onnx", "tflite")


def figures(model: bytes, profile: DeviceProfile, manifest: Manifest) -> dict[str, Any]:
    """For `measured`: `macs`; `instructions` by core and back end; and `on_device`, by back end.

    Args:
        model: the int8 ONNX file
        profile: the device that the bundle is for
        manifest: as far as it is known
    """
    graph = onnx.load_from_string(model)
    works = {backend: operator_counts.of(graph, backend) for backend in BACKENDS if backend not in manifest.floats}
    model_id = f"{manifest.name}:{manifest.release}:{hashlib.sha256(model).hexdigest()[:8]}"
    found = {backend: profile.predict(backend, works[backend], model_id) for backend in works}
    counted: dict[str, dict[str, float]] = {}
    for each in map(devices.load, devices.names()[1:]):
        for backend, cost in [(name, cost) for name, cost in each.costs.items() if name in works]:
            prediction = msgspec.structs.replace(each, costs={backend: cost}).predict(backend, works[backend])
            if prediction is not None and prediction.instructions is not None:
                counted.setdefault(each.cpu, {})[backend] = round(prediction.instructions)
    return {
        "macs": sum(each.macs for each in works["onnx"]),
        "instructions": counted,
        "on_device": {name: msgspec.to_builtins(each) for name, each in found.items() if each is not None},
    }


def here(measured: dict[str, Any]) -> dict[str, Any]:
    """For `on_device`, where the device is this machine: what `runners.speed` measured of the int8 models."""
    found = {}
    for name in BACKENDS:
        ms, p95 = measured[f"ms_int8_{name}"], measured[f"p95_ms_int8_{name}"]
        found[name] = msgspec.to_builtins(Prediction(None, None, None, "measured here", ms, ms, p95))
    return found


def read(measured: dict[str, Any]) -> dict[str, Prediction]:
    """What `figures` wrote under `on_device`."""
    found = measured.get("on_device", {})
    return {name: msgspec.convert(each, Prediction) for name, each in found.items()}
