"""Secrets that are not kept well: a password that crosses the network in clear, a secret file that others may read."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from ..plugin_tables import split_url
from .configuration import Config
from .sink_tables import is_loopback


def list_warnings(settings: Config) -> list[str]:
    """One sentence for each, with the remedy."""
    broker = settings.broker
    warnings = []
    parts = split_url(broker.url, "broker.url")
    if parts.scheme == "mqtt" and broker.password_file and not is_loopback(parts.hostname or ""):
        warnings.append(
            f"the password of {broker.username or 'the broker'} crosses the network to {parts.hostname} in clear: "
            "use mqtts:// with broker.ca_file"
        )
    secrets = {
        "broker.password_file": broker.password_file,
        "broker.key_file": broker.key_file,
        "password_file": settings.password_file,
        "evidence.secret_key_file": settings.evidence.secret_key_file,
    }
    for sink in settings.sinks:
        keys = [key for key in ("secret_file", "password_file") if hasattr(sink, key)]
        secrets |= {f"{key} of the sink {sink.name}": getattr(sink, key) for key in keys}
    for key, path in secrets.items():
        if path and (fault := describe_open_file(Path(path))):
            warnings.append(f"{key} {path} {fault}")
    return warnings


def describe_open_file(path: Path) -> str:
    """What is wrong with the permissions of a secret file, and the remedy; empty: nothing, or it cannot be read.

    A group may read a file of root: so root gives it to a service.
    """
    try:
        found = path.stat()
    except OSError:  # told by whoever needs the file
        return ""
    if found.st_mode & stat.S_IROTH:
        return f"can be read by every user of this machine: chmod o= {path}"
    if found.st_mode & stat.S_IRGRP and found.st_uid != 0 and found.st_gid != os.getegid():
        return f"can be read by a group: chmod g= {path}"
    return ""
