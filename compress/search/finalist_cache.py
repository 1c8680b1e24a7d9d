"""Cache entry of a finalist: its models and figures in one file, so that a search builds no design twice."""

from __future__ import annotations

from typing import cast

import msgspec
import onnx

from ..quantization.step_log import QuantizationStep
from ..training.float_and_int8_model import FloatAndInt8Model
from .selection import Trial


class CachedFinalist(msgspec.Struct, frozen=True):
    """Cache entry of a finalist."""

    auroc: float
    """AUROC of the int8 model."""
    size: int
    """Bytes of the larger int8 file."""
    models: tuple[bytes, bytes, bytes]
    """ONNX files: the float model, the int8 model, and the float reference of the int8 model."""
    steps: tuple[QuantizationStep, ...]
    auroc_drop: float = msgspec.field(default=0.0, name="lost")
    """AUROC of the float model minus that of the int8 model."""
    known_corrections: tuple[float, ...] = ()
    """See `FloatAndInt8Model`."""
    left_out: str = ""
    """Why it cannot be chosen; empty: it can."""

    @classmethod
    def from_models(
        cls, auroc: float, auroc_drop: float, size: int, trained: FloatAndInt8Model, left_out: str
    ) -> CachedFinalist:
        files = tuple(
            model.SerializeToString(deterministic=True)
            for model in (trained.float_model, trained.int8_model, trained.float_reference)
        )
        models = cast("tuple[bytes, bytes, bytes]", files)
        return cls(auroc, size, models, trained.steps, auroc_drop, trained.known_corrections, left_out)

    def measured(self, trial: Trial) -> Trial:
        """The trial with the measured figures instead of the predicted ones."""
        left_out = self.left_out or msgspec.UNSET
        return msgspec.structs.replace(trial, auroc=self.auroc, bytes=self.size, known=msgspec.UNSET, left_out=left_out)

    def load_trained_model(self) -> FloatAndInt8Model:
        """The trained model from the cached files."""
        float_model, int8_model, float_reference = map(onnx.ModelProto.FromString, self.models)
        return FloatAndInt8Model(
            float_model, int8_model, float_reference, self.steps, known_corrections=self.known_corrections
        )
