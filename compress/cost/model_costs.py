"""Costs of the built models on the target device, and the rules on where their milliseconds come from.

remote device given     `vedette bench` measures the models there, over SSH
profile with a cost     milliseconds are predicted from counted operators, or from a measurement in the profile
profile `host`          if nothing is predicted, the times of the build machine count: it is the target
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from vedette.devices import CostPrediction, DeviceProfile
from vedette.runtime.evaluation.interleaved_timing import Timing

from ..evaluation.built_models import INT8_ONNX, BuiltModels
from . import device_costs, remote_benchmark
from .device_costs import BACKENDS, DeviceCosts


def measure_costs(
    models: BuiltModels,
    device: DeviceProfile,
    timings: Mapping[str, Timing],
    members: dict[str, bytes],
    key: Ed25519PrivateKey,
    remote_url: str | None = None,
) -> DeviceCosts:
    """Cost of the int8 models on the target device; `DeviceCosts.device` is the profile that was measured, if one was.

    Args:
        models: the built models
        device: the target device
        timings: times on the build machine by model
        members: model files and golden outputs, for the benchmark on a remote device
        key: signs what is sent to the remote device
        remote_url: `ssh://user@host` of a device that measures; None: no measurement

    Raises:
        MachineProblem: the remote device cannot be reached, or cannot measure.
    """
    int8_model, manifest = models.files[INT8_ONNX], models.manifest
    costs = device_costs.predict_costs(int8_model, device, manifest)
    if remote_url is not None:
        draft = msgspec.structs.replace(manifest, measured=costs.to_manifest())
        profile = remote_benchmark.run_remote_benchmark(remote_url, draft, members, key)
        costs = device_costs.predict_costs(int8_model, profile, manifest)
    if costs.device.name == "host" and not costs.on_device:
        here = {backend: measured_here(timings[f"int8_{backend}"]) for backend in BACKENDS}
        costs = msgspec.structs.replace(costs, on_device=here)
    return costs


def measured_here(timing: Timing) -> CostPrediction:
    """The cost on the target device, if that is the build machine."""
    return CostPrediction(None, None, None, "measured here", timing.median, timing.median, timing.p95)
