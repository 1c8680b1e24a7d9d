"""The process of a self-test (self_test.py): it checks, loads and runs the models of one bundle, and reports.

It reads a task from one inherited file and writes lines of JSON to another. Before it looks at a model it takes from
itself the rights of root, the network, files to write, and more memory and time than a model needs. It may die at any
point: a library may abort on a file, and the kernel ends it at a limit.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import msgspec

from .. import process_limits
from ..bundle.binary_formats import ModelFileError
from ..bundle.bundle import Bundle
from ..bundle.manifest import ONNX
from ..bundle.onnx_checks import check_onnx_file
from ..bundle.tflite_checks import check_tflite_file
from ..errors import MachineProblem, Problem
from .backends import Backend, measure_backends, open_backend
from .golden_outputs import max_step_difference
from .self_test import CPU_SECONDS, ModelResult, SelfTestTask

LIBRARY_MEMORY = 384 << 20  # bytes of address space for the code of the libraries and the heap of Python
THREAD_MEMORY = 16 << 20  # bytes of address space for a thread's stack
MAX_TEXT = 300


def main(task_file: int, report_pipe: int) -> None:
    """Tests each model of the task in the descriptor `task_file`; reports to the descriptor `report_pipe`."""
    process_limits.give_up_root()
    process_limits.die_with_parent()
    with os.fdopen(task_file, "rb") as file:
        task = msgspec.msgpack.decode(file.read(), type=SelfTestTask)
    process_limits.limit_resources(CPU_SECONDS * task.threads)
    process_limits.forbid_network_and_changes()
    process_limits.limit_memory(LIBRARY_MEMORY + THREAD_MEMORY * task.threads + task.memory)
    bundle = Bundle(Path("bundle"), task.manifest, task.members, "")
    tested: dict[str, Backend] = {}
    for name in task.backends:
        result, backend = _test_model(name, bundle, task)
        if backend is not None:
            tested[name] = backend
        os.write(report_pipe, msgspec.json.encode(result) + b"\n")
    if len(tested) > 1:
        seconds = measure_backends(list(tested.values()), bundle.golden("image")[:1])
        for name, best in zip(tested, seconds, strict=True):
            os.write(report_pipe, msgspec.json.encode(ModelResult(name, seconds=best)) + b"\n")


def _test_model(name: str, bundle: Bundle, task: SelfTestTask) -> tuple[ModelResult, Backend | None]:
    """The largest difference from the golden outputs, or what is wrong; and the loaded model."""
    try:
        # Activations share memory, so that all tensors together may be larger than it.
        (check_onnx_file if name == ONNX else check_tflite_file)(bundle.model(name), 2 * task.memory)
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
