"""What the report of every build shows beside the figures, whatever its task."""

from __future__ import annotations

import msgspec

from ..evaluation.disagreement import Disagreement
from ..quantization.layer_errors import Noise
from ..quantization.step_log import Step
from .compression_steps import Stage


class Findings(msgspec.Struct, frozen=True):
    """The evidence that all tasks have in common."""

    stages: list[Stage]
    unit: str
    """Of their effort, for people."""
    steps: tuple[Step, ...]
    noise: Noise
    apart: Disagreement
