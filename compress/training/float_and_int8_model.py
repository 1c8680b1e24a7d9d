"""Result of training: the float model and the int8 model of one design."""

from __future__ import annotations

from typing import Any

import msgspec
import onnx

from vedette.runtime.inference.inspector import Inspector

from ..quantization.step_log import QuantizationStep


class FloatAndInt8Model(msgspec.Struct, frozen=True):
    """Float and int8 ONNX graphs of one trained model."""

    float_model: onnx.ModelProto
    int8_model: onnx.ModelProto
    float_reference: onnx.ModelProto
    """Float model that the int8 model approximates: `float_model`, except for a head fitted to int8 features."""
    steps: tuple[QuantizationStep, ...] = ()
    """Applied quantization steps."""
    manifest_fields: dict[str, Any] = {}
    """Manifest fields of an object detector: `boxes`, `labels`, and `resize` of its input."""
    inspector: Inspector | None = None
    """Cuts what the model sees out of an image; None: the model sees the whole image."""
    known_corrections: tuple[float, ...] = ()
    """By known defect: what the score of the int8 model lacks to that of one that was not fitted to it. Empty: 0."""
