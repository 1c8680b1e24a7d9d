"""Writing a file so that it appears under its name only when it is complete and on the disk."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from .errors import MachineProblem


def write_atomically(path: Path, content: bytes, hint: str) -> None:
    """Writes a file in one step: a crash leaves the old file or the new one. Creates missing parent folders.

    Args:
        path: the file
        content: what it will hold
        hint: the remedy of the error

    Raises:
        MachineProblem: the file cannot be written.
    """
    partial = path.with_name(f"{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise MachineProblem(f"{path}: {error.strerror}", hint=hint) from None
