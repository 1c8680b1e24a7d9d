"""The process of a self-test (self_test.py): it checks, loads and runs the models of one bundle, and reports.

It reads a task from one inherited file and writes lines of JSON to another. Before it looks at a model it takes from
itself the rights of root, the network, files to write, and more memory and time than a model needs. It may die at any
point: a library may abort on a file, and the kernel ends it at a limit. A process for an accelerator tests that alone,
under the weaker limits that its driver allows (process_limits.py).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from .. import process_limits
from ..bundle.binary_formats import ModelFileError
from ..bundle.bundle import Bundle
from ..bundle.compiled_model import HAILO
from ..bundle.model_files import check_model_file
from ..errors import MachineProblem, Problem
from .backends import Backend, measure_backends, open_backend
from .backends.hailo import stage_model
from .golden_outputs import max_step_difference
from .self_test import ACCELERATORS, CPU_SECONDS, DEVICE_SECONDS, ModelResult, SelfTestTask

LIBRARY_MEMORY = 384 << 20  # bytes of address space for the code of the libraries and the heap of Python
THREAD_MEMORY = 16 << 20  # bytes of address space for a thread's stack
DEVICE_MEMORY = 1 << 30  # bytes of data that a driver and its compiler may need beside the model's
DEVICE_FILES = 1024
MAX_TEXT = 300


def main(task_file: int, report_pipe: int) -> None:
    """Tests each model of the task in the descriptor `task_file`; reports to the descriptor `report_pipe`."""
    process_limits.give_up_root()
    process_limits.die_with_parent()
    with os.fdopen(task_file, "rb") as file:
        task = msgspec.msgpack.decode(file.read(), type=SelfTestTask)
    bundle = Bundle(Path("bundle"), task.manifest, task.members, "")
    if HAILO in task.backends:
        stage_model(bundle.model(HAILO))
    if ACCELERATORS & set(task.backends):
        process_limits.limit_resources(int(DEVICE_SECONDS), files=DEVICE_FILES)
        process_limits.forbid_network_and_changes(drives_device=True)
        process_limits.limit_data(LIBRARY_MEMORY + DEVICE_MEMORY + task.memory)
    else:
        process_limits.limit_resources(CPU_SECONDS * task.threads)
        process_limits.forbid_network_and_changes()
        process_limits.limit_memory(LIBRARY_MEMORY + THREAD_MEMORY * task.threads + task.memory)
    tested: dict[str, Backend] = {}
    for name in task.backends:
        result, backend = _test_model(name, bundle, task)
        if backend is not None:
            tested[name] = backend
        os.write(report_pipe, msgspec.json.encode(result) + b"\n")
    if len(tested) > 1 or (tested and task.timed):
        seconds = measure_backends(list(tested.values()), bundle.golden("image")[:1])
        for name, best in zip(tested, seconds, strict=True):
            os.write(report_pipe, msgspec.json.encode(ModelResult(name, seconds=best)) + b"\n")


def _test_model(name: str, bundle: Bundle, task: SelfTestTask) -> tuple[ModelResult, Backend | None]:
    """The largest difference from the golden outputs, or what is wrong; and the loaded model."""
    try:
        # Activations share memory, so that all tensors together may be larger than it.
        check_model_file(task.manifest, name, bundle.model(name), 2 * task.memory)
    except ModelFileError as error:
        return ModelResult(name, fault=_shorten(error)), None
    try:
        backend = open_backend(name, bundle, task.threads)
        steps = max_step_difference(bundle, backend)
    except MachineProblem as problem:
        return ModelResult(name, missing=problem.message, hint=problem.hint), None
    except Problem as problem:
        return ModelResult(name, fault=_shorten(problem.message)), None
    except MemoryError:
        return ModelResult(name, fault="it needs more memory than this machine gives it"), None
    except Exception as error:  # noqa: BLE001  # whatever a library or a damaged model raises: this is the border
        return ModelResult(name, fault=f"{type(error).__name__}: {_shorten(error)}"), None
    return ModelResult(name, version=backend.version, steps=steps, is_float=backend.is_float), backend


def _shorten(error: object) -> str:
    """The first line of a message, printable and short."""
    line = next(iter(str(error).strip().splitlines()), "no reason given")
    return "".join(letter if letter.isprintable() else "?" for letter in line)[:MAX_TEXT]


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
