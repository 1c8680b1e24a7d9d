"""Mutated model files, each in a forked process that runs the code of the self-test.

A file that passes is loaded again in a second fork without limits, as the daemon would: that fork must not die.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
import traceback
from collections import Counter
from collections.abc import Callable

import ai_edge_litert.interpreter  # noqa: F401  # loaded once, before the forks
import msgspec
import onnx
import onnxruntime  # noqa: F401
from altered_bundles import stored_bundle
from mutations import mutate, places_outside, random_of

from vedette.runtime.bundle.binary_formats import FlatTable
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.errors import Problem
from vedette.runtime.inference import self_test_process
from vedette.runtime.inference.backends import open_backend
from vedette.runtime.inference.golden_outputs import max_step_difference
from vedette.runtime.inference.self_test import ModelResult, SelfTestTask

SECONDS = 20.0
MEMORY = 256 << 20


def fuzz_models(target: str, numbers: range, keep: Callable[[str, int, bytes, str], None]) -> Counter[str]:
    """Counts what became of each mutated file of the target `onnx` or `tflite`."""
    bundle = stored_bundle()
    content, counts = bundle.model(target), Counter[str]()
    if target == "onnx":
        parts = [tensor.raw_data for tensor in onnx.load_model_from_string(content).graph.initializer]
    else:
        parts = [buffer.bytes(0) for buffer in FlatTable.root(content).tables(4)]
    places = places_outside(content, parts)
    for number in numbers:
        rng = random_of(target, number)
        mutant = mutate(rng, content, None if rng.random() < 0.1 else places, most=4)
        members = bundle.members | {bundle.manifest.models[target]: mutant}
        outcome, detail = _test_in_fork(SelfTestTask(bundle.manifest, members, (target,), 1, MEMORY))
        if outcome == "passed":
            changed = Bundle(bundle.path, bundle.manifest, members, "")
            died = _load_in_fork(changed, target)
            outcome = f"passed, and then {died}" if died else "passed"
        counts[outcome] += 1
        if outcome.startswith(("traceback", "passed, and")):
            keep(target, number, mutant, detail or outcome)
    return counts


def _test_in_fork(task: SelfTestTask) -> tuple[str, str]:
    """What the process of the self-test reports, or how it ended."""
    read_end, write_end = os.pipe()
    memory = os.memfd_create("task")
    os.write(memory, msgspec.msgpack.encode(task))
    os.lseek(memory, 0, os.SEEK_SET)
    child = os.fork()
    if child == 0:
        _be_quiet()
        os.close(read_end)
        try:
            self_test_process.main(memory, write_end)
        except BaseException:  # noqa: BLE001  # the parent counts it
            os.write(write_end, b"!" + traceback.format_exc().encode()[-2000:])
        os._exit(0)
    os.close(write_end)
    os.close(memory)
    report, code = _collect(child, read_end)
    os.close(read_end)
    if report.startswith(b"!") or b"\n!" in report:
        return "traceback", report.decode(errors="replace")
    if code is None:
        return "ended: longer than the limit", ""
    if not report:
        return f"ended: {signal.Signals(-code).name if code < 0 else f'exit {code}'}", ""
    result = msgspec.json.decode(report.splitlines()[0], type=ModelResult)
    if not result.fault:
        return "passed", ""
    by_library = "refuses the model" in result.fault or ": " in result.fault[:25]
    return "refused by the library" if by_library else "refused by the checks", result.fault


def _collect(child: int, pipe: int) -> tuple[bytes, int | None]:
    """What a process wrote until it ended, and its exit code; None: it took too long."""
    report, deadline = b"", time.monotonic() + SECONDS
    while (left := deadline - time.monotonic()) > 0:
        if select.select([pipe], [], [], left)[0]:
            if not (chunk := os.read(pipe, 1 << 16)):
                return report, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
            report += chunk
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return report, None


def _load_in_fork(bundle: Bundle, name: str) -> str:
    """Loads and runs a model as the daemon does; returns how the process died, or nothing."""
    child = os.fork()
    if child == 0:
        _be_quiet()
        with contextlib.suppress(Problem):
            max_step_difference(bundle, open_backend(name, bundle, 1))
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return "" if code == 0 else f"died with {code}"


def _be_quiet() -> None:
    null = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(null, stream)
