"""Predicted cost of the finished int8 model on its device, for the manifest and the verdict.

The manifest also states the multiply-accumulates of the model, and the predicted instructions for each core with a cost
model. From those, `vedette bench` on a device derives milliseconds per instruction, which predict the times of other
models.
"""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec
import onnx

from vedette import devices
from vedette.devices import CostPrediction, DeviceProfile
from vedette.runtime.bundle.manifest import ONNX, TFLITE, Manifest

from . import operator_counts

BACKENDS = (ONNX, TFLITE)


class DeviceCosts(msgspec.Struct, frozen=True):
    """Cost of one image with the int8 models."""

    device: DeviceProfile
    """The target device."""
    macs: int
    """Multiply-accumulates."""
    instructions: dict[str, dict[str, float]]
    """Predicted instructions by core and back end, for each core with a cost model."""
    on_device: dict[str, CostPrediction]
    """Predicted or measured cost on the target device by back end; without a back end that nothing is known of."""

    def to_manifest(self) -> dict[str, Any]:
        """The costs by their key in `measured`."""
        return {
            "macs": self.macs,
            "instructions": self.instructions,
            "on_device": {name: msgspec.to_builtins(each) for name, each in self.on_device.items()},
        }


def predict_costs(model: bytes, profile: DeviceProfile, manifest: Manifest) -> DeviceCosts:
    """Predict what the int8 model costs on the device.

    Args:
        model: the int8 ONNX file
        profile: the target device
        manifest: the manifest so far
    """
    graph = onnx.load_from_string(model)
    operators = {
        backend: operator_counts.count_operators(graph, backend)
        for backend in BACKENDS
        if backend not in manifest.floats
    }
    model_id = f"{manifest.name}:{manifest.release}:{hashlib.sha256(model).hexdigest()[:8]}"
    on_device = {backend: profile.predict_cost(backend, operators[backend], model_id) for backend in operators}
    instructions: dict[str, dict[str, float]] = {}
    for device in map(devices.load_profile, devices.profile_names()[1:]):
        for backend, counts in operators.items():
            prediction = device.predict_cost(backend, counts)
            if prediction is not None and prediction.instructions is not None:
                instructions.setdefault(device.cpu, {})[backend] = round(prediction.instructions)
    return DeviceCosts(
        device=profile,
        macs=sum(operator.macs for operator in operators[ONNX]),
        instructions=instructions,
        on_device={name: prediction for name, prediction in on_device.items() if prediction is not None},
    )
