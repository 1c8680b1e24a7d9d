"""What a bundle says about itself: `manifest.json`, format 1.

Unknown keys are refused: what a newer format adds must be understood before it is run.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FORMAT = 1
ONNX, TFLITE = "onnx", "tflite"


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Input(_Strict, frozen=True):
    """How a frame becomes the model's input: 1 x height x width x 3, red-green-blue.

    A pixel p of 0…255 has the real value (p - mean) / std, and the integer round(real / scale) + zero_point.
    """

    name: str
    width: int
    height: int
    mean: float
    std: float
    scale: float
    zero_point: int
    """As u8. The TFLite model takes s8, so 128 less."""
    resize: Literal["area"] = "area"


class Output(_Strict, frozen=True):
    """One output: real value = scale * (integer - zero_point)."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    """As u8. The TFLite model gives s8, so 128 less."""


class Member(_Strict, frozen=True):
    """A file of the bundle."""

    sha256: str
    bytes: int


class Source(_Strict, frozen=True):
    """Where weights or data came from."""

    name: str
    licence: str
    origin: str = ""


class Manifest(_Strict, frozen=True):
    """Everything about a bundle but its bytes."""

    format: int
    name: str
    release: int
    """Counts up; a device refuses to go back."""
    task: str
    labels: tuple[str, ...]
    input: Input
    outputs: tuple[Output, ...]
    models: dict[str, str]
    """Back end -> member that it runs."""
    threshold: float
    """A score at or above it is an anomaly."""
    goal: dict[str, float]
    measured: dict[str, Any]
    goal_met: bool
    missed: tuple[str, ...]
    """For each goal that was missed: which, and by how much."""
    unproven: tuple[str, ...]
    """Goals that could not be judged where the bundle was built, and why."""
    device: str
    """The profile that it was built for."""
    weights: tuple[Source, ...]
    data: tuple[Source, ...]
    tools: dict[str, str]
    """Versions of what made it."""
    signer: str
    """Id of the key in manifest.sig."""
    files: dict[str, Member]
    """Every member but manifest.json and manifest.sig."""

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    @property
    def model_id(self) -> str:
        """Name, release and the beginning of the ONNX model's digest, as in `cells:3:0f9c2ab1`."""
        digest = self.files[self.models[ONNX]].sha256[:8]
        return f"{self.name}:{self.release}:{digest}"


def encode(manifest: Manifest) -> bytes:
    """The manifest as the exact bytes that are signed: readable, with a fixed order."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"
