"""The manifest of a bundle: `manifest.json`, format 1.

Unknown keys are an error, because a runtime must understand everything that a newer format adds. A key with a default
is written only if its value differs from the default, so that older runtimes can read every manifest that does not need
the key.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ..calibration.good_scores import GoodScores
from ..calibration.recalibration import Recalibration
from ..config.polygon import Polygon
from ..errors import BundleProblem
from .box_decoding import BoxDecoding
from .compiled_model import CompiledModel

FORMAT_VERSION = 1
ONNX, TFLITE = "onnx", "tflite"
UNKNOWN = "unknown"  # label of a classifier's prediction if no class reaches the threshold


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class ModelInput(_Strict, frozen=True):
    """Preprocessing of a frame into the model's input, 1 x height x width x 3, RGB.

    A pixel p in 0…255 has the real value (p - mean) / std, and the integer round(real / scale) + zero_point.
    """

    name: str
    width: int
    height: int
    mean: float
    std: float
    scale: float
    zero_point: int
    """For uint8. The TFLite model takes int8, so its zero point is smaller by 128."""
    resize: Literal["area", "stretch", "letterbox"] = "area"
    """`area` (OpenCV's INTER_AREA) and `stretch` (INTER_LINEAR) ignore the aspect ratio. `letterbox` (INTER_LINEAR)
    keeps it, puts the frame into the upper left corner, and fills the rest with gray level 114."""


class ModelOutput(_Strict, frozen=True):
    """A model output: real value = scale * (integer - zero_point)."""

    name: str
    shape: tuple[int, ...]
    scale: float
    zero_point: int
    """For uint8. The TFLite model gives int8, so its zero point is smaller by 128."""

    @property
    def highest(self) -> float:
        """The highest real value that the output can have."""
        return self.scale * (255 - self.zero_point)


class MotionInput(_Strict, frozen=True):
    """Settings of a model whose input is frame differences (runtime/inference/frame_differencing.py)."""

    spacing: float
    """Seconds between the frames of a difference."""
    gain: float
    """Integer steps of the input for each gray level of difference."""
    window: float
    """Seconds over which outputs are aggregated."""


class Alignment(_Strict, frozen=True):
    """Alignment of each frame with a reference image (runtime/inference/part_aligner.py)."""

    motion: Literal["translation", "rigid", "similarity"]
    """`rigid` is a translation and a rotation; `similarity` also scales."""
    reference: str
    """The reference image, a member of the bundle."""
    shift: float
    """Largest translation of the center, as a fraction of the side of the frame."""
    angle: float
    """Largest rotation either way, degrees."""
    scale: float
    """Largest relative change of the size."""
    correlation: float
    """Least correlation of an aligned frame with the reference. If it is lower, the part was not found."""


class InspectionArea(_Strict, frozen=True, omit_defaults=True):
    """An area of the part with a threshold of its own (runtime/inference/area_thresholds.py)."""

    name: str
    polygon: tuple[tuple[float, float], ...]
    """As fractions 0…1 of the aligned frame from the top left."""
    offset: float = 0.0
    """By how much the area's threshold is higher than that of the rest; negative: lower."""
    ignore: bool = False
    """True: the area raises no alarm."""


class Inspection(_Strict, frozen=True, omit_defaults=True):
    """Which part of a frame the model sees (runtime/inference/inspector.py), and areas with thresholds of their own."""

    region: tuple[tuple[float, float], ...] = ()
    """Polygon of the region, as fractions 0…1 of the aligned frame from the top left; empty: the whole frame."""
    alignment: Alignment | None = None
    """None: frames are not aligned."""
    areas: tuple[InspectionArea, ...] = ()
    """Where they overlap, the first one counts."""

    def __str__(self) -> str:
        areas = ", ".join(f"{area.name} (ignored)" if area.ignore else area.name for area in self.areas)
        return f"{self._part}; areas with thresholds of their own: {areas}" if areas else self._part

    @property
    def _part(self) -> str:
        if not self.region and self.alignment is None:
            return "the whole frame"
        what = "a region of the part" if self.alignment and self.region else "a region" if self.region else "the part"
        return f"{what}, aligned by {self.alignment.motion}" if self.alignment else what


class MemberDigest(_Strict, frozen=True):
    """Digest and size of a member file."""

    sha256: str
    bytes: int


class SourceAndLicence(_Strict, frozen=True):
    """Source and licence of weights or data."""

    name: str
    licence: str
    origin: str = ""


class Manifest(_Strict, frozen=True, omit_defaults=True):
    """Description of a bundle: models, preprocessing, threshold, goal, measurements, provenance and digests."""

    format: int
    name: str
    release: int
    """Release number, increasing."""
    task: str
    labels: tuple[str, ...]
    """Labels that predictions can have. Classifier: the classes in the order of the scores, then `unknown`. Object
    detector: the classes in the order of the channels."""
    input: ModelInput
    outputs: tuple[ModelOutput, ...]
    models: dict[str, str]
    """Back end -> model file (member of the bundle)."""
    threshold: float
    """A score at or above the threshold is an anomaly or an object; a less probable class becomes `unknown`."""
    goal: dict[str, float]
    measured: dict[str, Any]
    goal_met: bool
    missed: tuple[str, ...]
    """Each missed goal, with the amount by which it was missed."""
    unproven: tuple[str, ...]
    """Goals that could not be checked during the build, with the reason."""
    device: str
    """The device profile that the bundle was built for."""
    weights: tuple[SourceAndLicence, ...]
    data: tuple[SourceAndLicence, ...]
    tools: dict[str, str]
    """Versions of the tools that built the bundle."""
    signer: str
    """ID of the key that signed the manifest (manifest.sig)."""
    files: dict[str, MemberDigest]
    """All members except manifest.json and manifest.sig."""
    normal: tuple[str, ...] = ()
    """Labels of normal classes: they cause no event unless a rule names them."""
    temperature: float | None = None
    """Classifier: scores are divided by the temperature before softmax."""
    floats: dict[str, str] = {}
    """Back ends whose model computes in float, with the reason. Their golden outputs are named `NAME-float`."""

    boxes: BoxDecoding | None = None
    """Set for an object detector."""
    inspect: Inspection | None = None
    """Set if the model sees the aligned part or a region of a frame; None: the whole frame."""
    motion: MotionInput | None = None
    """Set if the model's input is frame differences; None: single frames."""
    recalibrated: Recalibration | None = None
    """Set if threshold and offset come from other images than those of the build."""
    compiled: dict[str, CompiledModel] = {}
    """Back end -> the model that a compiler made for its accelerator."""
    pictures: tuple[str, ...] = ()
    """Small pictures of good parts (good_pictures.py), members of the bundle."""
    downgrade_from: int | None = None
    """Highest release that this one may replace although it is older; None: it may replace none that is newer."""
    local_digest: str = ""
    """Never in a signed manifest: first digits of the digest of a recalibration that this device keeps."""

    def output(self, name: str) -> ModelOutput:
        """The model output with this name."""
        return next(output for output in self.outputs if output.name == name)

    @property
    def decision_threshold(self) -> float:
        """The default threshold of rules: a prediction with at least this score counts as present.

        It is 0 for a classifier, whose head has already applied the threshold: its label alone decides.
        """
        return self.threshold if self.temperature is None else 0.0

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels that a classifier has scores for: all but `unknown`."""
        return tuple(label for label in self.labels if label != UNKNOWN)

    @property
    def model_id(self) -> str:
        """Name, release and the first 8 digits of the ONNX model's digest, for example `cells:3:0f9c2ab1`."""
        digest = self.files[self.models[ONNX]].sha256[:8]
        local = f"+recalibrated.{self.local_digest}" if self.local_digest else ""
        return f"{self.name}:{self.release}:{digest}{local}"

    @property
    def scored_region(self) -> Polygon:
        """The region of interest that `good_scores` and the threshold come from; empty: the whole frame."""
        return () if self.recalibrated is None else self.recalibrated.region

    @property
    def good_scores(self) -> GoodScores | None:
        """Distribution of held-out good scores, of which a score's p-value follows; None: the build recorded none.

        Raises:
            BundleProblem: `measured` holds something else under that key.
        """
        if self.recalibrated is not None:
            return self.recalibrated.good_scores
        try:
            return msgspec.convert(self.measured.get("good_scores"), GoodScores | None)
        except msgspec.ValidationError as error:
            raise BundleProblem(f"measured.good_scores: {error}", hint="build the bundle again") from None


def encode_manifest(manifest: Manifest) -> bytes:
    """The exact bytes that are signed: indented JSON with sorted keys."""
    return msgspec.json.format(msgspec.json.encode(manifest, order="deterministic"), indent=2) + b"\n"
