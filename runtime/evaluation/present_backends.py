"""Which back ends can be measured here with a bundle, and why the others cannot."""

from __future__ import annotations

from ..bundle.bundle import Bundle
from ..bundle.compiled_model import TARGETS, TENSORRT
from ..bundle.model_files import CUDA, model_member
from ..inference.backends import BACKENDS
from ..inference.backends.provider_library import find_provider_library
from ..inference.golden_outputs import describe_difference, step_tolerance
from ..inference.self_test import ACCELERATORS, test_models


def find_present_backends(bundle: Bundle, threads: int) -> tuple[tuple[str, ...], dict[str, str]]:
    """Tests every back end with the bundle.

    Returns:
        The names of those that run, an accelerator only if it reproduces the golden outputs; and of each other one the
        reason.
    """
    reasons = {name: reason for name in BACKENDS if (reason := _find_absence(bundle, name))}
    results = test_models(bundle, tuple(name for name in BACKENDS if name not in reasons), threads)
    for name, result in results.items():
        if result.missing:
            reasons[name] = f"{result.missing}; {result.hint}"
        elif result.fault:
            reasons[name] = result.problem(bundle).message
        elif name in ACCELERATORS and result.steps > step_tolerance(result.version):
            reasons[name] = f"{result.version}: {describe_difference(result.steps, result.version)}"
    return tuple(name for name in BACKENDS if name not in reasons), {name: reasons[name] for name in sorted(reasons)}


def _find_absence(bundle: Bundle, name: str) -> str:
    """Why a back end cannot be tried at all; empty: it can."""
    if model_member(bundle.manifest, name) is None:
        added = f": vedette build --for {name} adds one" if name in TARGETS else ""
        return f"the bundle has no model for it{added}"
    if name in (CUDA, TENSORRT) and find_provider_library(name) is None:
        return f"ONNX Runtime is here without {name}; pip install onnxruntime-gpu instead of onnxruntime"
    return ""
