"""What multiplies: the same integers in, the same integers out, whichever is chosen."""

from __future__ import annotations

import time
from typing import Any, Protocol

from numpy.typing import NDArray

from ...bundle.bundle import Bundle
from ...errors import MachineProblem
from ...plugins import choose

BACKENDS = {"onnx": ".onnx:Onnx", "tflite": ".tflite:Tflite"}


class Backend(Protocol):
    """A loaded model."""

    version: str
    """Library and version, for people."""
    real: bool
    """Whether the model computes in float: its golden outputs are others."""

    def run(self, tensor: NDArray[Any]) -> dict[str, NDArray[Any]]:
        """1 x H x W x 3, u8 -> each output by name, u8, in the manifest's shape."""


def load(name: str, bundle: Bundle, threads: int = 1) -> Backend:
    """The bundle's model in the back end `name`.

    Raises:
        MachineProblem: its library is not on this machine, or refuses the model.
    """
    part = choose(__package__, BACKENDS, name, "backend")
    backend: Backend = part(bundle.model(name), bundle.manifest, threads)
    return backend


def available(bundle: Bundle, threads: int = 1) -> dict[str, Backend]:
    """Every back end of the bundle that loads on this machine, by name.

    Raises:
        MachineProblem: none does.
    """
    loaded, reasons = {}, []
    for name in bundle.manifest.models:
        try:
            loaded[name] = load(name, bundle, threads)
        except MachineProblem as problem:
            reasons.append(problem.message)
    if not loaded:
        raise MachineProblem(f"no back end loads: {'; '.join(reasons)}", hint="pip install onnxruntime")
    return loaded


def fastest(candidates: list[Backend], tensor: NDArray[Any], rounds: int = 7) -> Backend:
    """The back end that runs `tensor` faster on this machine: best of `rounds`, taken in turn."""
    if len(candidates) == 1:
        return candidates[0]
    best = [float("inf")] * len(candidates)
    for _ in range(rounds):
        for place, backend in enumerate(candidates):
            start = time.perf_counter()
            backend.run(tensor)
            best[place] = min(best[place], time.perf_counter() - start)
    return candidates[best.index(min(best))]
