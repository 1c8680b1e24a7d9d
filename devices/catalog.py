"""Catalog of device profiles: one file `profiles/NAME.toml` per kind of machine, and `host` for this machine.

`host` has no file: its profile is read from the machine that asks.
"""

from __future__ import annotations

from importlib.resources import files
from typing import Any

import msgspec

from .host import read_host_profile
from .profile import DeviceProfile


def profile_names() -> list[str]:
    """Names of all profiles that a goal file may use; `host` first, then the files in alphabetical order."""
    stems = [entry.name.removesuffix(".toml") for entry in _folder().iterdir() if entry.name.endswith(".toml")]
    return ["host", *sorted(stems)]


def load_profile(name: str) -> DeviceProfile:
    """The profile called `name`.

    Raises:
        KeyError: no profile has this name; `profile_names` lists them.
    """
    if name == "host":
        return read_host_profile()
    if name not in profile_names():
        raise KeyError(name)
    text = (_folder() / f"{name}.toml").read_bytes()
    return msgspec.toml.decode(text, type=DeviceProfile)


def decode_benchmark_profile(text: bytes) -> DeviceProfile:
    """The measured profile in the JSON output of `vedette bench --json`.

    Raises:
        msgspec.MsgspecError: the text is not a profile; the message says why.
    """
    return msgspec.json.decode(text, type=DeviceProfile)


def find_matching_profile(machine: DeviceProfile) -> DeviceProfile | None:
    """The named profile with the same core type, core count and architecture as `machine`; None if there is none.

    A Pi 3 and a Zero 2 W differ only in memory, so the profile with the nearer memory size is chosen.
    """
    key = (machine.cpu, machine.cores, machine.architecture)
    profiles = [load_profile(name) for name in profile_names()[1:]]
    same = [profile for profile in profiles if (profile.cpu, profile.cores, profile.architecture) == key]
    return min(same, key=lambda profile: abs(profile.memory_mb - machine.memory_mb), default=None)


def _folder() -> Any:  # importlib's Traversable moved between Python 3.11 and 3.13
    return files(__package__) / "profiles"
