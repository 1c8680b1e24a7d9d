"""The control files of a package: its fields, its scripts, and the digests of its files."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from itertools import pairwise
from pathlib import Path

from .packages import Package

TEMPLATES = Path(__file__).parent / "templates"
SCRIPTS = ("postinst", "prerm", "postrm")
MAINTAINER = "Vedette contributors", "maintainers@vedette.invalid"
"""Name and address of whoever builds the packages, unless DEBFULLNAME and DEBEMAIL say it, as for Debian's own tools.

The project has no address of its own: see SECURITY.md. RFC 2606 keeps `.invalid` from belonging to anybody.
"""
LIBRARIES = {
    "libc.so.6": "libc6 (>= 2.28)",
    "libdl.so.2": "libc6 (>= 2.28)",
    "libm.so.6": "libc6 (>= 2.28)",
    "libpthread.so.0": "libc6 (>= 2.28)",
    "librt.so.1": "libc6 (>= 2.28)",
    "ld-linux-x86-64.so.2": "libc6 (>= 2.28)",
    "ld-linux-aarch64.so.1": "libc6 (>= 2.28)",
    "libgcc_s.so.1": "libgcc-s1",
    "libstdc++.so.6": "libstdc++6 (>= 12)",
    "libz.so.1": "zlib1g",
}
"""What wheels may expect of every Linux, and the packages that have it."""


def maintainer() -> str:
    """The maintainer as packages name them: `NAME <ADDRESS>`."""
    name, address = MAINTAINER
    return f"{os.environ.get('DEBFULLNAME') or name} <{os.environ.get('DEBEMAIL') or address}>"


def control_file(stage: Path, package: Package) -> str:
    """DEBIAN/control for a staged tree."""
    size = sum(-(-path.stat().st_size // 1024) for path in _files(stage))
    depends = [*sorted(_library_dependencies(stage / "opt")), *python_dependencies(package.pythons)]
    depends += ["systemd | systemd-standalone-sysusers", "systemd | systemd-standalone-tmpfiles"]
    return (TEMPLATES / "control").read_text().format(
        package=package.name,
        version=package.version,
        architecture=package.architecture,
        maintainer=maintainer(),
        installed_kib=size,
        depends=", ".join(depends),
        relations=package.flavor.relations,
        title=package.flavor.title,
        details=package.flavor.details,
    )  # fmt: skip


def digests(stage: Path) -> str:
    """DEBIAN/md5sums for a staged tree."""
    return "".join(
        f"{hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}  {path.relative_to(stage)}\n"
        for path in _files(stage)
    )


def python_dependencies(pythons: tuple[str, ...]) -> list[str]:
    """Relations that hold for just these versions of python3, in ascending order."""

    def after(version: str) -> str:
        major, minor = map(int, version.split("."))
        return f"{major}.{minor + 1}~"

    between = [f"python3 (<< {after(one)}) | python3 (>= {other}~)" for one, other in pairwise(pythons)]
    return [f"python3 (>= {pythons[0]}~)", *between, f"python3 (<< {after(pythons[-1])})"]


def _files(stage: Path) -> list[Path]:
    return sorted(
        path
        for path in stage.rglob("*")
        if path.is_file() and not path.is_symlink() and path.relative_to(stage).parts[0] != "DEBIAN"
    )


def _library_dependencies(folder: Path) -> set[str]:
    """The packages that the libraries below a folder need, beside each other.

    Raises:
        KeyError: a library needs one that is neither there nor in the table.
    """
    libraries = [path for path in folder.rglob("*.so*") if path.is_file()]
    command = ["/usr/bin/readelf", "-dW", *map(str, libraries)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    needed = set(re.findall(r"\(NEEDED\).*\[(.*)\]", done.stdout))
    return {LIBRARIES[name] for name in needed - {path.name for path in libraries}}
