"""Benchmark of a bundle on this machine: latency, processor time, memory and start-up time of each back end.

    latency    median and 95th percentile of one frame; back ends run in turn, so that disturbances affect all of them
    sustained  the same over minutes, if they are named, with temperature and the firmware's flags
    energy     joules of one frame, if a power meter is named
    the rest   each back end alone in its own process, as in a camera's daemon

The frame is noise of the camera's size, because latency does not depend on its content; if frames are aligned, it is
the reference image. The result is the profile of this machine with the measurements, from which the build machine
predicts the latency of other models here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import BenchmarkResult, DeviceProfile, find_matching_profile, read_host_profile

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..errors import MachineProblem
from ..inference import backends
from ..inference.inspector import Inspector
from ..inference.preprocess import Preprocess
from ..progress import Log, no_log
from .energy_measurement import EnergyRequest, measure_energy
from .interleaved_timing import Timing, time_interleaved
from .present_backends import find_present_backends
from .sustained_run import SustainedRequest, measure_sustained

TIMED_FRAMES = 50


class ProcessCost(msgspec.Struct, frozen=True):
    """Costs of one back end in its own process."""

    startup_seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def benchmark_bundle(
    path: Path,
    keys: Path | None,
    frame: tuple[int, int],
    threads: int,
    rounds: int,
    energy: EnergyRequest | None = None,
    sustained: SustainedRequest | None = None,
    log: Log = no_log,
) -> DeviceProfile:
    """The profile of this machine with the measurements of the bundle at `path`.

    Args:
        path: the bundle
        keys: folder of the trusted public keys; None: those of this machine
        frame: width and height of the camera's frames
        threads: of each back end
        rounds: timed frames
        energy: meter, length and frame rate of an energy measurement; None: none
        sustained: length and frame rate of a sustained run; None: none
        log: takes a line for each round of the energy measurement and of the sustained run

    Raises:
        BundleProblem: the bundle's signature or content is invalid.
        MachineProblem: no back end loads, or the power meter tells nothing.
    """
    bundle = Bundle.open(path, Keyring.read(keys))
    names, skipped = find_present_backends(bundle, threads)
    loaded = backends.available_backends(bundle, threads, names)
    process_costs = {name: _measure_process(name, path, keys, frame, threads) for name in loaded}
    preprocess = Preprocess.from_bundle(bundle)
    pixels = _make_frame(frame, preprocess.inspector)
    tensor = preprocess(pixels)
    calls: dict[str, Callable[[], object]] = {}
    for name, backend in loaded.items():
        calls[name] = partial(lambda run: run(preprocess(pixels)), backend.run)
        calls[f"{name} alone"] = partial(backend.run, tensor)
    timings = time_interleaved(calls, rounds)
    whole = {name: calls[name] for name in loaded}
    energies = measure_energy(whole, energy, log=log) if energy else {}
    runs = measure_sustained(whole, sustained, log=log) if sustained else {}

    host = read_host_profile()
    closest = find_matching_profile(host)
    build_figures = bundle.manifest.measured
    instructions = build_figures.get("instructions", {}).get(host.cpu, {})
    measured = tuple(
        BenchmarkResult(
            model=bundle.manifest.model_id,
            backend=name,
            version=backend.version,
            threads=threads,
            frame=frame,
            **_timing_fields(
                timings[name], timings[f"{name} alone"], build_figures.get("macs"), instructions.get(name)
            ),
            **msgspec.structs.asdict(process_costs[name]),
            energy=energies.get(name),
            sustained=runs.get(name),
        )
        for name, backend in loaded.items()
    )
    name, costs = (closest.name, closest.costs) if closest else (host.title, {})
    clock = closest.clock_mhz if closest else None
    return msgspec.structs.replace(host, name=name, clock_mhz=clock, costs=costs, measured=measured, skipped=skipped)


def _timing_fields(whole: Timing, model: Timing, macs: int | None, instructions: float | None) -> dict[str, Any]:
    return {
        "ms": whole.median,
        "p95_ms": whole.p95,
        "p90_ms": whole.p90,
        "p99_ms": whole.p99,
        "model_ms": model.median,
        "ms_per_million_macs": model.median * 1e6 / macs if macs else None,
        "ms_per_million_instructions": model.median * 1e6 / instructions if instructions else None,
    }


def _make_frame(size: tuple[int, int], inspector: Inspector | None) -> NDArray[np.uint8]:
    """Noise; the reference image if frames are aligned with it, because a frame without the part takes longer."""
    width, height = size
    if inspector is not None and inspector.reference is not None:
        return np.asarray(cv2.resize(inspector.reference, size), np.uint8)
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _measure_process(name: str, path: Path, keys: Path | None, frame: tuple[int, int], threads: int) -> ProcessCost:
    arguments = [threads, *frame, time.monotonic()]
    command = [sys.executable, "-m", __name__, name, str(path), str(keys or ""), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # this module
    if done.returncode != 0:
        last_line = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
        raise MachineProblem(f"{name} failed in its own process: {last_line}", hint="try vedette verify")
    return msgspec.json.decode(done.stdout, type=ProcessCost)


def _measure_backend(name: str, path: str, keys: str, threads: str, width: str, height: str, started: str) -> None:
    """Measures one back end in this process, which `_measure_process` started at the monotonic time `started`."""
    bundle = Bundle.open(Path(path), Keyring.read(Path(keys) if keys else None))
    backend, preprocess = backends.load_backend(name, bundle, int(threads)), Preprocess.from_bundle(bundle)
    pixels = _make_frame((int(width), int(height)), preprocess.inspector)
    backend.run(preprocess(pixels))
    startup = time.monotonic() - float(started)
    before = time.process_time()
    for _ in range(TIMED_FRAMES):
        backend.run(preprocess(pixels))
    cpu = (time.process_time() - before) / TIMED_FRAMES
    sys.stdout.buffer.write(msgspec.json.encode(ProcessCost(startup, cpu, _read_peak_rss_mb())))


def _read_peak_rss_mb() -> float:
    """The peak resident memory of this process. `ru_maxrss` would include that of the parent after vfork."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    _measure_backend(*sys.argv[1:])
