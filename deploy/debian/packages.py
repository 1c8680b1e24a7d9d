"""The packages that there are: flavors, architectures, and the Pythons of Debian's releases."""

from __future__ import annotations

import tomllib
from pathlib import Path

import msgspec

ROOT = Path(__file__).parents[2]
RELEASES = {"bookworm": "3.11", "trixie": "3.13"}
"""Debian's releases and their Pythons."""
SUFFIXES = {"bookworm": "+deb12", "trixie": "+deb13"}
"""Of the version of a package that is for one release alone."""


class Flavor(msgspec.Struct, frozen=True):
    """What a package holds."""

    package: str
    title: str
    details: str
    lock: str
    relations: str
    left_out: frozenset[str] = frozenset()
    """Packages of the lock file."""
    units_left_out: frozenset[str] = frozenset()
    """Units whose packages are not in the lock file."""
    per_release: bool = False
    """One package for each release of Debian, which holds that release's Python alone."""


FLAVORS = {
    "full": Flavor(
        package="vedette",
        title="defect and anomaly detection on cheap boxes",
        details=" This package has both integer back ends (ONNX Runtime, LiteRT), for the Python\n"
        " of bookworm and that of trixie.",
        lock="box.txt",
        relations="Conflicts: vedette-slim\nReplaces: vedette-slim",
    ),
    # Every bundle holds an ONNX model. ONNX Runtime needs flatbuffers, protobuf and packaging for its tools alone.
    "slim": Flavor(
        package="vedette-slim",
        title="defect and anomaly detection on cheap boxes, one back end",
        details=" This package has ONNX Runtime alone, for the Python of one release of Debian,\n"
        " and neither the page for a browser nor mDNS.",
        lock="device.txt",
        relations="Provides: vedette\nConflicts: vedette\nReplaces: vedette",
        left_out=frozenset({"ai-edge-litert", "backports-strenum", "flatbuffers", "ml-dtypes", "protobuf", "tqdm"}),
        units_left_out=frozenset({"vedette-page.service"}),
        per_release=True,
    ),
}


class Package(msgspec.Struct, frozen=True):
    """One file to build."""

    flavor: Flavor
    architecture: str
    pythons: tuple[str, ...]
    version: str
    date: int
    """Of every file in it: seconds since 1970."""

    @property
    def name(self) -> str:
        return self.flavor.package

    @property
    def file_name(self) -> str:
        return f"{self.name}_{self.version}_{self.architecture}.deb"


def plan_packages(flavor: Flavor, architectures: tuple[str, ...], date: int) -> list[Package]:
    """The packages of a flavor."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    variants = {version: tuple(RELEASES.values())}
    if flavor.per_release:
        variants = {version + SUFFIXES[release]: (python,) for release, python in RELEASES.items()}
    return [
        Package(flavor, architecture, pythons, each, date)
        for architecture in architectures
        for each, pythons in variants.items()
    ]
