"""What a bundle says about itself: `manifest.json`, format 1.

Unknown keys are refused: what a newer format adds must be understood before it is run. Keys with a default here are
written only where they say something, so that what an older runtime can read it can read.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

FORMAT = 1
ONNX, TFLITE = "onnx", "tflite"
UNKNOWN = "unknown"  # what a classifier answers where no class is sure enough


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
    resize: Literal["area", "stretch", "letterbox"] = "area"
    """`area` and `stretch`: to both sides, whatever that does to its shape (OpenCV's INTER_AREA, INTER_LINEAR).
    `letterbox`: until it fits (INTER_LINEAR), in the upper left corner; what is left over is 114 grey."""


class Output(_Strict, frozen=True):
    """One output: real value = scale * (integer - zero_point)."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    """As u8. The TFLite model gives s8, so 128 less."""


class Boxes(_Strict, frozen=True, omit_defaults=True):
    """How the outputs of an object detector become boxes."""

    family: str
    """Which head reads them: a key of `runtime.heads.FAMILIES`."""
    iou: float
    """Of two boxes of one class that overlap more, the less sure one is dropped: intersection over union."""
    anchors: tuple[tuple[tuple[float, float], ...], ...] = ()
    """Of `ssd`: for each level height and width of the boxes that every cell starts from, fractions of the input."""


class Motion(_Strict, frozen=True):
    """The model sees what changes, not the frame itself: runtime/inference/frame_differencing.py."""

    spacing: float
    """Seconds between the frames that are compared."""
    gain: float
    """Integers for a grey level of difference."""
    window: float
    """Seconds over which the outputs are taken together."""


class Member(_Strict, frozen=True):
    """A file of the bundle."""

    sha256: str
    bytes: int


class Source(_Strict, frozen=True):
    """Where weights or data came from."""

    name: str
    licence: str
    origin: str = ""


class Manifest(_Strict, frozen=True, omit_defaults=True):
    """Everything about a bundle but its bytes."""

    format: int
    name: str
    release: int
    """Counts up; a device refuses to go back."""
    task: str
    labels: tuple[str, ...]
    """What predictions may be called; of a classifier the classes in the order of its scores, then `unknown`; of a
    detector the classes in the order of its channels."""
    input: Input
    outputs: tuple[Output, ...]
    models: dict[str, str]
    """Back end -> member that it runs."""
    threshold: float
    """A score at or above it is an anomaly, or an object; a class less probable than it is `unknown`."""
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
    normal: tuple[str, ...] = ()
    """Labels of parts with nothing wrong: no event, unless a rule asks for it."""
    temperature: float | None = None
    """A classifier's scores are divided by it before softmax makes probabilities of them."""
    floats: dict[str, str] = {}
    """Back ends whose model computes in float, and why. Such a one has golden outputs of its own, `NAME-float`."""

    boxes: Boxes | None = None
    """Of an object detector."""
    motion: Motion | None = None
    """None: the model sees each frame by itself."""

    def output(self, name: str) -> Output:
        return next(output for output in self.outputs if output.name == name)

    @property
    def present(self) -> float:
        """The score from which on a rule takes a prediction for present, unless told otherwise.

        A classifier has held its answer against the threshold already, so there its label alone decides.
        """
        return self.threshold if self.temperature is None else 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that a classifier has scores for."""
        return tuple(label for label in self.labels if label != UNKNOWN)

    @property
    def model_id(self) -> str:
        """Name, release and the beginning of the ONNX model's digest, as in `cells:3:0f9c2ab1`."""
        digest = self.files[self.models[ONNX]].sha256[:8]
        return f"{self.name}:{self.release}:{digest}"


def encode(manifest: Manifest) -> bytes:
    """The manifest as the exact bytes that are signed: readable, with a fixed order."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"
