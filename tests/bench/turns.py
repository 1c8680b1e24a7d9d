"""Several models, each in a process of its own, timed a few frames at a time and in turn.

Models of two environments cannot live in one process, so frames cannot be interleaved one by one as
`vedette.runtime.evaluation.interleaved_timing` does it. Instead every process loads its model, waits, and is told over
a pipe how many frames to run; while one runs, the others sleep. A disturbance that lasts longer than a turn affects all
of them.

It is imported in our environment and in the peer's, so it needs the standard library alone.
"""

from __future__ import annotations

import json
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WARM_UP = 5
ROUNDS = 20
FRAMES = 10  # of a turn; the first is not counted, for the caches belonged to another


def answer(call: Callable[[], object]) -> None:
    """In the process of a model: runs `call` as often as each line of stdin says, and tells how long each took."""
    for _ in range(WARM_UP):
        call()
    _tell("ready")
    for line in sys.stdin:
        taken, used = [], []
        for _ in range(int(line)):
            start, begun = time.perf_counter(), time.process_time()
            call()
            used.append(1e3 * (time.process_time() - begun))
            taken.append(1e3 * (time.perf_counter() - start))
        _tell(json.dumps({"ms": taken, "processor_ms": used, "peak_bytes": peak_bytes()}))


def _tell(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def take(commands: dict[str, list[str]], environment: dict[str, str]) -> dict[str, dict[str, Any]]:
    """Starts a process for each model and lets them run in turn.

    Returns:
        of each: `ms`, median milliseconds; `turns`, of processor time, the median of each turn; `running_bytes`

    Raises:
        RuntimeError: one of them ended.
    """
    processes = {
        name: subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment)
        for name, command in commands.items()
    }
    found: dict[str, dict[str, Any]] = {name: {"turns": []} for name in commands}
    taken: dict[str, list[float]] = {name: [] for name in commands}
    try:
        for name in commands:
            _read(name, processes[name])
        for _ in range(ROUNDS):
            for name, process in processes.items():
                process.stdin.write(f"{FRAMES}\n")
                process.stdin.flush()
                told = json.loads(_read(name, process))
                taken[name] += told["ms"][1:]
                found[name]["turns"].append(statistics.median(told["processor_ms"][1:]))
                found[name] |= {"ms": statistics.median(taken[name]), "running_bytes": told["peak_bytes"]}
    finally:
        for process in processes.values():
            process.stdin.close()
            process.wait()
    return found


def _read(name: str, process: subprocess.Popen[str]) -> str:
    """The next line of ours: some runtimes write to the same stream."""
    for line in process.stdout:
        if line.startswith(("ready", "{")):
            return line
    raise RuntimeError(f"{name}: the process ended with code {process.wait()}")


def peak_bytes() -> int:
    """The most memory that this process has had.

    Not `resource.getrusage`: its figure begins with what the parent had when it started this process.
    """
    return 1024 * int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1])
