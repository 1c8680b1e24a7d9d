"""A handful of the inputs of `make fuzz`, so that its programs keep working; the whole of them runs there."""

from __future__ import annotations

import sys

import pytest
from paths import ROOT

sys.path.insert(0, str(ROOT / "tests" / "fuzz"))

from run import COUNTS, is_fault, run

SHARES = {"bundle": 60, "configuration": 30, "onnx": 20, "tflite": 20, "stream": 5}
SHARES |= {"page": 40, "receiver": 10, "feedback": 60, "message": 200, "request": 30}


@pytest.mark.parametrize("target", SHARES)
def test_some_hostile_inputs_are_handled(target: str) -> None:
    counts = run(target, range(SHARES[target]))
    assert counts
    assert not [outcome for outcome in counts if is_fault(outcome)], counts
    assert SHARES[target] < COUNTS[target]
