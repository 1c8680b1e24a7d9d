"""Folders that tests read."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The repository."""
TESTS = ROOT / "tests"
SHARED = ROOT.parent / "shared" / "data"
"""Real images, clips and models for development; tests that need them skip where they are absent."""
