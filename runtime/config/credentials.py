"""Files with passwords and keys, and systemd credentials.

`credential:NAME` names a systemd credential (LoadCredential=). Only the systemd unit has it. A command outside the unit
reads the same configuration, and fails only if it needs the credential.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import msgspec

from ..errors import ConfigProblem

_CREDENTIAL = "credential:"
_SettingsT = TypeVar("_SettingsT", bound=msgspec.Struct)


def resolve_credential_path(reference: str, folder: Path) -> str:
    """Absolute path of a configured file; outside the systemd unit, `credential:NAME` is returned unchanged.

    Args:
        reference: a path relative to `folder`, or `credential:NAME`; empty stays empty
        folder: folder of the configuration file
    """
    if not reference.startswith(_CREDENTIAL):
        return str(folder / reference) if reference else ""
    credentials_folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return str(Path(credentials_folder) / reference.removeprefix(_CREDENTIAL)) if credentials_folder else reference


def resolve_files(settings: _SettingsT, folder: Path) -> _SettingsT:
    """The settings with absolute paths in all keys that end in `_file`, as `resolve_credential_path` makes them."""
    keys = [each for each in settings.__struct_fields__ if each.endswith("_file")]
    paths = {key: resolve_credential_path(getattr(settings, key), folder) for key in keys}
    return msgspec.structs.replace(settings, **paths)


def read_secret(path: str, key: str) -> str | None:
    """Reads a password from a file; None if `path` is empty.

    Args:
        path: a path, or `credential:NAME`
        key: the key in the configuration, for the error message

    Raises:
        ConfigProblem: the file cannot be read.
    """
    if not path:
        return None
    try:
        return Path(require_file(path)).read_text(encoding="utf-8-sig").rstrip("\n")
    except (OSError, UnicodeDecodeError) as error:
        hint = f"make it a file in UTF-8 that the daemon may read, or correct {key}"
        raise ConfigProblem(f"{key} {path}: {error}", hint=hint) from None


def require_file(path: str) -> str:
    """Returns `path` if it is the path of a file.

    Raises:
        ConfigProblem: it is a credential, which only the systemd unit has.
    """
    if path.startswith(_CREDENTIAL):
        hint = "only the systemd unit has credentials (LoadCredential=); elsewhere name a file"
        raise ConfigProblem(f"{path}: there are no credentials here", hint=hint)
    return path
