"""The self-test of a bundle's models: each is loaded and run on the golden inputs before the daemon trusts it.

It happens in a process of its own (self_test_process.py), without network or files to write, and with limits of memory
and time. A model that makes its library abort, hang or fill the memory ends that process, and the daemon has one
sentence for it. The process also shows which back end is fastest, so the daemon loads the library of that one alone.

The same process would show nothing of a model that does harm and yet gives the golden outputs: the bounds checks before
it (onnx_checks.py, tflite_checks.py) make that hard, and the signature says whom to ask.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from weakref import WeakKeyDictionary

import msgspec

from ..bundle.bundle import GOLDEN_FOLDER, Bundle
from ..bundle.compiled_model import TARGETS
from ..bundle.manifest import Manifest
from ..bundle.model_files import CUDA, model_member
from ..errors import UNREADABLE, BundleProblem, MachineProblem, Problem
from ..process_limits import describe_exit, read_memory_limit

WALL_SECONDS = 60.0  # of one process; systemd gives a start 90
DEVICE_SECONDS = 300.0  # of a process with an accelerator, which may compile its model first
CPU_SECONDS = 60
MAX_MODEL_MEMORY = 2 << 30
ACCELERATORS = frozenset({CUDA, *TARGETS})
_MAX_REPORT = 1 << 16
_ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
_ENVIRONMENT |= {"CUDA_CACHE_DISABLE": "1", "HAILORT_LOGGER_PATH": "NONE"}  # nothing is written to files
_PROCESS = "vedette.runtime.inference.self_test_process"


class SelfTestTask(msgspec.Struct, frozen=True):
    """What the process gets."""

    manifest: Manifest
    members: dict[str, bytes]
    """The models and the golden inputs and outputs."""
    backends: tuple[str, ...]
    threads: int
    memory: int
    """Bytes that the models may need beside the code of the libraries."""
    timed: bool = False
    """Measure even a single model, because others run in processes of their own."""


class ModelResult(msgspec.Struct, frozen=True):
    """What the process reports of one model."""

    backend: str
    version: str = ""
    steps: int = 0
    """Largest difference from the golden outputs."""
    is_float: bool = False
    seconds: float | None = None
    """Best time of one inference; None: not measured, because no other model was tested."""
    fault: str = ""
    """What is wrong with the model; empty: it runs."""
    missing: str = ""
    """The library is not installed: why; empty: it is."""
    hint: str = ""

    @property
    def runs(self) -> bool:
        """Whether the model can be loaded here."""
        return not self.fault and not self.missing

    def problem(self, bundle: Bundle) -> Problem:
        """The error of a model that does not run."""
        if self.missing:
            return MachineProblem(self.missing, self.hint)
        hint = "build the bundle again; vedette doctor shows the versions of the back ends"
        return BundleProblem(f"{bundle.path}: {model_member(bundle.manifest, self.backend)}: {self.fault}", hint)


_RESULTS: WeakKeyDictionary[Bundle, dict[tuple[str, int], ModelResult]] = WeakKeyDictionary()


def test_models(bundle: Bundle, names: tuple[str, ...], threads: int) -> dict[str, ModelResult]:
    """The results of the back ends `names`, by name; tested once for each bundle.

    Raises:
        BundleProblem: the bundle has no model for one of them.
    """
    if missing := [name for name in names if model_member(bundle.manifest, name) is None]:
        hint = f"it has models for {', '.join(sorted(bundle.manifest.models))}"
        if built := [name for name in missing if name in TARGETS]:
            hint += f"; vedette build --for {built[0]} adds one"
        raise BundleProblem(f"{bundle.path}: no model for {', '.join(missing)}", hint)
    results = _RESULTS.setdefault(bundle, {})
    if any((name, threads) not in results for name in names):
        # An accelerator has weaker limits than the libraries of the processor, and so a process of its own.
        alone = [(name,) for name in names if name in ACCELERATORS]
        together = tuple(name for name in names if name not in ACCELERATORS)
        for group in [*([together] if together else []), *alone]:
            waiting = group
            while waiting:
                found = _run_process(bundle, waiting, threads, timed=bool(alone) and len(names) > 1)
                results.update({(name, threads): result for name, result in found.items()})
                waiting = tuple(name for name in waiting if name not in found)
    return {name: results[name, threads] for name in names}


def _run_process(bundle: Bundle, names: tuple[str, ...], threads: int, timed: bool) -> dict[str, ModelResult]:
    """The results of one process. If it dies, the model that it had not reported yet is at fault, and those after it
    have no result.
    """
    golden = {name: data for name, data in bundle.members.items() if name.startswith(f"{GOLDEN_FOLDER}/")}
    models = {str(model_member(bundle.manifest, name)): bundle.model(name) for name in names}
    memory = min(MAX_MODEL_MEMORY, read_memory_limit() // 2)
    task = msgspec.msgpack.encode(SelfTestTask(bundle.manifest, golden | models, names, threads, memory, timed))
    report, ending = _read_report(task, DEVICE_SECONDS if names[0] in ACCELERATORS else WALL_SECONDS)
    results: dict[str, ModelResult] = {}
    for line in report.splitlines():
        try:
            result = msgspec.json.decode(line, type=ModelResult)
        except UNREADABLE:
            break
        if result.seconds is not None and result.backend in results:
            result = msgspec.structs.replace(results[result.backend], seconds=result.seconds)
        if result.backend in names:
            results[result.backend] = result
    silent = next((name for name in names if name not in results), None)
    if silent is not None:
        results[silent] = ModelResult(silent, fault=ending)
    return results


def _read_report(task: bytes, seconds: float) -> tuple[bytes, str]:
    """Runs the process; returns what it reported, and how it ended if it did not report all."""
    task_file = os.memfd_create("vedette-self-test")
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    try:
        with os.fdopen(os.dup(task_file), "wb") as file:
            file.write(task)
        os.lseek(task_file, 0, os.SEEK_SET)
        with os.fdopen(write_end, "wb"):
            process = subprocess.Popen(  # noqa: S603  # a fixed command
                [sys.executable, "-P", "-m", _PROCESS, str(task_file), str(write_end)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                pass_fds=[task_file, write_end],
                env=os.environ | _ENVIRONMENT,
                cwd="/",
                start_new_session=True,  # Ctrl-C is for the daemon
            )
        try:
            return _read_until_end(read_end, process, seconds)
        finally:
            process.kill()
            process.wait()
    except OSError as error:
        raise MachineProblem(f"the self-test cannot start: {error.strerror}", hint="free some memory") from None
    finally:
        os.close(task_file)
        os.close(read_end)


def _read_until_end(pipe: int, process: subprocess.Popen[bytes], seconds: float) -> tuple[bytes, str]:
    report, deadline = b"", time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and len(report) < _MAX_REPORT:
        if not select.select([pipe], [], [], left)[0]:
            break
        chunk = os.read(pipe, _MAX_REPORT)
        if not chunk:
            try:
                return report, _describe_model_exit(process.wait(left))
            except subprocess.TimeoutExpired:  # it closed the pipe and lives on
                break
        report += chunk
    return report, f"it took longer than {seconds:g} s to load and run"


def _describe_model_exit(code: int) -> str:
    if code == -signal.SIGXCPU:
        return f"it took more than {CPU_SECONDS} s of processor time to load and run"
    if code == -signal.SIGKILL:
        return "the system ended its self-test, probably for want of memory"
    return f"its library ended with {describe_exit(code)}"
