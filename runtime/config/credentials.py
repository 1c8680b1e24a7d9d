"""Passwords and keys, in files.

`credential:NAME` names what systemd's LoadCredential= brought: the unit has it and nobody else, so a person's command
reads the same configuration and finds it missing only where it would be used.
"""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ConfigProblem

_CREDENTIAL = "credential:"


def place(written: str, folder: Path) -> str:
    """Where a file is that was `written` into a configuration in `folder`; what only the unit has stays as it is."""
    brought = os.environ.get("CREDENTIALS_DIRECTORY")
    if not written.startswith(_CREDENTIAL):
        return str(folder / written)
    return str(Path(brought) / written.removeprefix(_CREDENTIAL)) if brought else written


def secret(path: str, key: str) -> str | None:
    """The password in a file; None where `key` names none.

    Raises:
        ConfigProblem: it cannot be read.
    """
    if not path:
        return None
    try:
        return Path(at_hand(path)).read_text().rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        hint = f"make it a file of UTF-8 that the daemon may read, or mend {key}"
        raise ConfigProblem(f"{key} {path}: {error}", hint=hint) from None


def at_hand(path: str) -> str:
    """The same, once it is used.

    Raises:
        ConfigProblem: only the unit has it.
    """
    if path.startswith(_CREDENTIAL):
        hint = "only systemd brings credentials (LoadCredential=); elsewhere name a file"
        raise ConfigProblem(f"{path}: there are no credentials here", hint=hint)
    return path
