"""The locked wheels of a device, for another machine than this one: chosen, checked by digest, and unpacked.

Nothing of them is run. pip evaluates the conditions of a lock file on the Python that runs it, so they are evaluated
here.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
from packaging.markers import Marker, default_environment

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Debian's name of an architecture, and Python's."""
LIBC_VERSIONS = ("2_28", "2_27", "2_17")
"""Bookworm has 2.36; no wheel needs more than the first."""


class Target(msgspec.Struct, frozen=True):
    """A Python on an architecture."""

    architecture: str
    """As Debian says it: amd64 or arm64."""
    python: str
    """3.11 or 3.13."""

    @property
    def machine(self) -> str:
        return MACHINES[self.architecture]

    def applies(self, marker: str) -> bool:
        """Whether a condition of a lock file holds there."""
        facts = dict.fromkeys(("platform_release", "platform_version"), "")
        return Marker(marker).evaluate(
            {key: str(value) for key, value in default_environment().items()}
            | {
                "implementation_name": "cpython",
                "implementation_version": f"{self.python}.0",
                "os_name": "posix",
                "platform_machine": self.machine,
                "platform_python_implementation": "CPython",
                "platform_system": "Linux",
                "python_full_version": f"{self.python}.0",
                "python_version": self.python,
                "sys_platform": "linux",
            }
            | facts
        )


def select_locked(lock: str, target: Target, left_out: frozenset[str] = frozenset()) -> str:
    """The entries of a universal lock file that apply to a target, without conditions, and without some packages."""
    kept = []
    for entry in re.split(r"^(?=[A-Za-z0-9][\w.-]*==)", lock, flags=re.MULTILINE)[1:]:
        first, _, digests = entry.partition("\\\n")
        requirement, _, marker = first.partition(" ; ")
        if requirement.partition("==")[0].strip() not in left_out and (not marker or target.applies(marker.strip())):
            kept.append(f"{requirement.strip()} \\\n{digests.rstrip()}\n")
    return "".join(kept)


def unpack_wheels(requirements: str, target: Target, cache: Path) -> Path:
    """Fetches and unpacks wheels, as pip lays them out; the folder is kept in `cache` and reused.

    Raises:
        subprocess.CalledProcessError: a package has no wheel for the target, or another digest.
    """
    digest = hashlib.sha256(f"{requirements} {LIBC_VERSIONS}".encode()).hexdigest()[:12]
    folder = cache / f"{target.architecture}-{target.python}-{digest}"
    if folder.exists():
        return folder
    cache.mkdir(parents=True, exist_ok=True)
    unfinished = folder.with_name(f"{folder.name}.new")
    shutil.rmtree(unfinished, ignore_errors=True)
    lock = cache / f"{folder.name}.txt"
    lock.write_text(requirements)
    options = ["--require-hashes", "--only-binary=:all:", "--ignore-requires-python"]
    options += ["--python-version", target.python, "--implementation", "cp"]
    options += [f"--platform=manylinux_{version}_{target.machine}" for version in LIBC_VERSIONS]
    options += [f"--platform=manylinux2014_{target.machine}", "--requirement", str(lock)]
    _pip(*options, "--target", str(unfinished))
    unfinished.rename(folder)
    return folder


def unpack_own_wheel(wheel: Path, folder: Path) -> None:
    """Unpacks the wheel of this project."""
    _pip("--no-index", str(wheel), "--target", str(folder))


def build_wheel(root: Path, folder: Path, date: int) -> Path:
    """The wheel of this checkout, built from a copy, so that nothing that an earlier build left behind gets in."""
    source = folder / "source"
    shutil.rmtree(folder, ignore_errors=True)
    unwanted = shutil.ignore_patterns("__pycache__", "*.pyc", "*.egg-info")
    for name in ("devices", "runtime", "deploy", "compress", "docs"):
        shutil.copytree(root / name, source / name, ignore=unwanted)
    for path in (root / "pyproject.toml", root / "LICENSE", *root.glob("*.md")):
        shutil.copy2(path, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(source)]
    _run(command, {"SOURCE_DATE_EPOCH": str(date)})
    (wheel,) = folder.glob("*.whl")
    return wheel


def _pip(*arguments: str) -> None:
    options = ("--disable-pip-version-check", "install", "--quiet", "--no-deps", "--no-compile")
    _run([sys.executable, "-m", "pip", *options, *arguments])


def _run(command: list[str], variables: dict[str, str] | None = None) -> None:
    environment = os.environ | (variables or {})
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)  # noqa: S603
    if done.returncode:
        sys.stderr.write(done.stdout + done.stderr)
        done.check_returncode()
