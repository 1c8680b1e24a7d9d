"""Back ends: libraries that run the int8 model, with equal integers in and out."""

from __future__ import annotations

import logging
import time
from typing import Any, Protocol

from numpy.typing import NDArray

from ...bundle.bundle import Bundle
from ...bundle.manifest import Manifest
from ...bundle.model_files import CUDA
from ...errors import BundleProblem, MachineProblem, Problem
from ...plugin_tables import load_plugin
from ..self_test import ModelResult, test_models
from .provider_library import find_provider_library

log = logging.getLogger(__name__)

BACKENDS = {
    "onnx": ".onnx:OnnxBackend",
    "tflite": ".tflite:TfliteBackend",
    "cuda": ".gpu:CudaBackend",
    "tensorrt": ".gpu:TensorrtBackend",
    "edgetpu": ".edgetpu:EdgeTpuBackend",
    "hailo": ".hailo:HailoBackend",
}
MAX_TIMING_SECONDS = 5.0


class Backend(Protocol):
    """A loaded model."""

    version: str
    """Library and version, for display."""
    is_float: bool
    """True if the model computes in float; its golden outputs then differ."""

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, uint8 -> each output by name, uint8, in the manifest's shape.

        Raises:
            Exception: of the library or ValueError, if the tensor has another shape.
        """

    def close(self) -> None:
        """Gives the memory and the accelerator back; may be called twice. `run` fails after it."""


def load_backend(name: str, bundle: Bundle, threads: int = 1) -> Backend:
    """Loads the bundle's model in the back end `name`, after its self-test.

    Raises:
        ConfigProblem: there is no such back end.
        BundleProblem: the bundle has no model for it, or the model is faulty.
        MachineProblem: its library is not installed.
    """
    check_name(name)
    result = test_models(bundle, (name,), threads)[name]
    if not result.runs:
        raise result.problem(bundle)
    return open_backend(name, bundle, threads)


def check_name(name: str) -> None:
    """Raises a ConfigProblem if there is no back end `name`."""
    load_plugin(__package__, BACKENDS, name, "backend")


def open_backend(name: str, bundle: Bundle, threads: int) -> Backend:
    """Loads a model without the self-test, which calls this.

    Raises:
        BundleProblem: its library rejects the model.
        MachineProblem: its library is not installed.
    """
    backend_class = load_plugin(__package__, BACKENDS, name, "backend")
    backend: Backend = backend_class(bundle.model(name), bundle.manifest, threads)
    return backend


def auto_candidates(manifest: Manifest) -> tuple[str, ...]:
    """The back ends among which `auto` chooses: those that the bundle has files for, and `cuda` where ONNX Runtime has
    it. `tensorrt` only with a compiled engine, because compiling takes minutes at each start.
    """
    return (*manifest.models, *manifest.compiled, *([CUDA] if find_provider_library(CUDA) else []))


def available_backends(bundle: Bundle, threads: int = 1, names: tuple[str, ...] = ()) -> dict[str, Backend]:
    """All back ends whose library is installed and whose model passes the self-test, by name.

    Args:
        bundle: a verified bundle
        threads: of each back end
        names: of the back ends; empty: those of the manifest's `models`

    Raises:
        BundleProblem: every model is faulty, as far as its library is installed.
        MachineProblem: no library is installed.
    """
    results = test_models(bundle, names or tuple(bundle.manifest.models), threads)
    running = [name for name, result in results.items() if result.runs]
    if not running:
        raise explain_no_backend(bundle, results)
    for result in results.values():
        if result.fault:
            log.warning("%s", result.problem(bundle).message)
    return {name: open_backend(name, bundle, threads) for name in running}


def explain_no_backend(bundle: Bundle, results: dict[str, ModelResult]) -> Problem:
    """The error for a bundle of which no model runs here."""
    if all(result.missing for result in results.values()):
        reasons = "; ".join(result.missing for result in results.values())
        hint = next(iter(results.values())).hint if len(results) == 1 else "pip install onnxruntime"
        return MachineProblem(f"no back end loads: {reasons}", hint)
    problems = [result.problem(bundle) for result in results.values()]
    return BundleProblem("; ".join(problem.message for problem in problems), hint=problems[0].hint)


def fastest_backend(candidates: list[Backend], tensor: NDArray[Any], rounds: int = 7) -> Backend:
    """The candidate that runs `tensor` fastest on this machine: best time of `rounds` interleaved rounds."""
    best = measure_backends(candidates, tensor, rounds) if len(candidates) > 1 else [0.0]
    return candidates[best.index(min(best))]


def measure_backends(candidates: list[Backend], tensor: NDArray[Any], rounds: int = 7) -> list[float]:
    """The best time of each candidate in seconds, of `rounds` interleaved rounds, or fewer if they take long."""
    best, started = [float("inf")] * len(candidates), time.perf_counter()
    for _ in range(rounds):
        for index, backend in enumerate(candidates):
            start = time.perf_counter()
            backend.run(tensor)
            best[index] = min(best[index], time.perf_counter() - start)
        if time.perf_counter() - started > MAX_TIMING_SECONDS:
            break
    return best
