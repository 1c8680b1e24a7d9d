"""What a bundle costs on this machine: time, processor time, memory, start-up, for each back end.

    time       median and 95th percentile of one frame, back ends in turn, so that what disturbs one disturbs all
    the rest   each back end in a process of its own that does nothing else, as a camera's daemon would

The frame is noise of a camera's size, for how long a frame takes does not depend on what is on it. What comes out is a
profile of this machine with the measurements in it, from which the workshop predicts what other models will take here.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from vedette.devices import DeviceProfile, Measured, closest, this_machine

from ..bundle.bundle import Bundle
from ..bundle.keys import Keyring
from ..errors import MachineProblem
from ..inference import backends
from ..inference.preprocess import Preprocess
from .interleaved_timing import Timing, interleaved

FRAMES = 50


class Alone(msgspec.Struct, frozen=True):
    """One back end in a process of its own."""

    startup_seconds: float
    cpu_seconds: float
    peak_rss_mb: float


def bench(path: Path, keys: Path | None, frame: tuple[int, int], threads: int, rounds: int) -> DeviceProfile:
    """This machine, and what was measured of the bundle at `path` on it.

    Args:
        path: the bundle
        keys: folder of the keys that may have signed it; None: those of this machine
        frame: width and height of the camera's picture
        threads: of each back end
        rounds: frames that are timed

    Raises:
        BundleProblem: the bundle is not to be trusted.
        MachineProblem: no back end loads.
    """
    bundle = Bundle.open(path, Keyring.read(keys))
    loaded = backends.available(bundle, threads)
    alone = {name: _alone(name, path, keys, frame, threads) for name in loaded}
    preprocess, pixels = Preprocess(bundle.manifest.input), _frame(frame)
    tensor = preprocess(pixels)
    calls: dict[str, Callable[[], object]] = {}
    for name, backend in loaded.items():
        calls[name] = partial(lambda run: run(preprocess(pixels)), backend.run)
        calls[f"{name} alone"] = partial(backend.run, tensor)
    timings = interleaved(calls, rounds)

    host = this_machine()
    known = closest(host)
    told = bundle.manifest.measured
    counted = told.get("instructions", {}).get(host.cpu, {})
    measured = tuple(
        Measured(
            model=bundle.manifest.model_id,
            backend=name,
            version=backend.version,
            threads=threads,
            frame=frame,
            **_times(timings[name], timings[f"{name} alone"], told.get("macs"), counted.get(name)),
            **msgspec.structs.asdict(alone[name]),
        )
        for name, backend in loaded.items()
    )
    name, costs = (known.name, known.costs) if known else (host.title, {})
    clock = known.clock_mhz if known else None
    return msgspec.structs.replace(host, name=name, clock_mhz=clock, costs=costs, measured=measured)


def _times(whole: Timing, model: Timing, macs: int | None, instructions: float | None) -> dict[str, Any]:
    return {
        "ms": whole.median,
        "p95_ms": whole.p95,
        "model_ms": model.median,
        "ms_per_million_macs": model.median * 1e6 / macs if macs else None,
        "ms_per_million_instructions": model.median * 1e6 / instructions if instructions else None,
    }


def _frame(size: tuple[int, int]) -> NDArray[np.uint8]:
    width, height = size
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


def _alone(name: str, path: Path, keys: Path | None, frame: tuple[int, int], threads: int) -> Alone:
    numbers = [threads, *frame, time.monotonic()]
    command = [sys.executable, "-m", __name__, name, str(path), str(keys or ""), *map(str, numbers)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # ourselves
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise MachineProblem(f"{name} failed in a process of its own: {last}", hint="try vedette verify")
    return msgspec.json.decode(done.stdout, type=Alone)


def _main(name: str, path: str, keys: str, threads: str, width: str, height: str, started: str) -> None:
    """One back end, as `_alone` starts it; `started` is what the monotonic clock said then."""
    bundle = Bundle.open(Path(path), Keyring.read(Path(keys) if keys else None))
    backend, preprocess = backends.load(name, bundle, int(threads)), Preprocess(bundle.manifest.input)
    pixels = _frame((int(width), int(height)))
    backend.run(preprocess(pixels))
    startup = time.monotonic() - float(started)
    before = time.process_time()
    for _ in range(FRAMES):
        backend.run(preprocess(pixels))
    cpu = (time.process_time() - before) / FRAMES
    sys.stdout.buffer.write(msgspec.json.encode(Alone(startup, cpu, _peak_mb())))


def _peak_mb() -> float:
    """The largest that this process has been. Not `ru_maxrss`, which after vfork is also that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


if __name__ == "__main__":
    _main(*sys.argv[1:])
