"""Things that take seconds to make, made once for all processes of a test run."""

from __future__ import annotations

import fcntl
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest

_T = TypeVar("_T")


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], _T]) -> _T:
    """What `make` returns for an empty folder; the first process that asks makes it, the others read it."""
    base = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        base = base.parent  # shared by the workers of one run
    folder, result = base / "shared" / name, base / "shared" / f"{name}.pickle"
    folder.parent.mkdir(exist_ok=True)
    with (folder.parent / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not result.exists():
            shutil.rmtree(folder, ignore_errors=True)  # what a process left that was killed while it made it
            folder.mkdir()
            result.write_bytes(pickle.dumps(make(folder)))
        made: _T = pickle.loads(result.read_bytes())
    return made
