"""What the report of every build shows beside the figures, whatever its task."""

from __future__ import annotations

import msgspec

from .disagreement import Disagreement
from .noise import Noise
from .techniques.steps import Step
from .way import Stage


class Findings(msgspec.Struct, frozen=True):
    """The evidence that all tasks have in common."""

    stages: list[Stage]
    unit: str
    """Of their effort, for people."""
    steps: tuple[Step, ...]
    noise: Noise
    apart: Disagreement
