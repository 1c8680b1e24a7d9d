"""Builds the Debian packages: `make deb`, or python -m vedette.deploy.debian.build_deb --out build/deb.

Wheels by digest are laid out below /opt/vedette as a virtual environment that runs on the system's Python: bookworm's
3.11 or trixie's 3.13. Nothing of the other architecture is run. The same sources give the same bytes.
"""

from __future__ import annotations

import gzip
import os
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import click

from .control import SCRIPTS, TEMPLATES, control_file, digests, maintainer
from .manual import COMPLETIONS, completion, manual_page
from .packages import FLAVORS, ROOT, Package, plan_packages
from .tree import lay_out
from .wheels import MACHINES, Target, build_wheel, select_locked, unpack_own_wheel, unpack_wheels

ARCHITECTURES = list(MACHINES)
COMPRESSION = ("-Zxz", "-z0", "--threads-max=1")
"""A third of the seconds of xz's level 2, for a tenth more bytes. Debian's tools know no zstd."""


def build_package(package: Package, wheel: Path, cache: Path, out: Path) -> Path:
    """Stages the tree of a package beside it and packs it.

    Args:
        package: what to build
        wheel: of this project
        cache: folder of unpacked wheels, which builds share
        out: folder of the package
    """
    stage = out / "stage" / package.file_name.removesuffix(".deb")
    shutil.rmtree(stage, ignore_errors=True)
    own = out / "stage" / "own"
    folders = {}
    for python in package.pythons:
        target = Target(package.architecture, python)
        lock = (ROOT / "requirements" / package.flavor.lock).read_text()
        requirements = select_locked(lock, target, package.flavor.left_out)
        folders[python] = [unpack_wheels(requirements, target, cache), own]
    shutil.rmtree(own, ignore_errors=True)
    unpack_own_wheel(wheel, own)
    lay_out(folders, stage / "opt" / "vedette")
    _add_environment(stage, package)
    _add_documents(stage, own / "share", package)
    _add_control(stage, package)
    _set_modes_and_times(stage, package.date)
    path = out / package.file_name
    command = ["dpkg-deb", "--root-owner-group", *COMPRESSION, "--build", str(stage), str(path)]
    environment = os.environ | {"SOURCE_DATE_EPOCH": str(package.date)}
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment)  # noqa: S603
    return path


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(target)


def _compress(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode(), 9, mtime=0))


def _add_environment(stage: Path, package: Package) -> None:
    """The virtual environment's own files, and what makes the system use it."""
    prefix = stage / "opt" / "vedette"
    _write(prefix / "pyvenv.cfg", "home = /usr/bin\ninclude-system-site-packages = false\n")
    _link(prefix / "bin" / "python3", "/usr/bin/python3")
    _link(prefix / "bin" / "python", "python3")
    _write(prefix / "bin" / "vedette", (TEMPLATES / "vedette").read_text())
    _link(stage / "usr" / "bin" / "vedette", "/opt/vedette/bin/vedette")
    _write(stage / "usr/share/python3/runtime.d/vedette.rtupdate", (TEMPLATES / "vedette.rtupdate").read_text())
    units = stage / "usr/lib/systemd/system"
    for unit in sorted([*(ROOT / "deploy").glob("*.service"), *(ROOT / "deploy").glob("*.path")]):
        if unit.name in package.flavor.units_left_out:
            continue
        text = unit.read_text()
        _write(units / unit.name, text)
        if "@" not in unit.name:  # one that always applies; its conditions say when it does something
            for line in text.splitlines():
                for wanted in line.removeprefix("WantedBy=").split() if line.startswith("WantedBy=") else ():
                    _link(units / f"{wanted}.wants" / unit.name, f"../{unit.name}")
    _write(stage / "usr/lib/sysusers.d/vedette.conf", (ROOT / "deploy/vedette.sysusers").read_text())
    _write(stage / "usr/lib/tmpfiles.d/vedette.conf", (ROOT / "deploy/vedette.tmpfiles").read_text())
    for path in COMPLETIONS:
        _write(stage / path, completion(path))


def _add_documents(stage: Path, share: Path, package: Package) -> None:
    """Documents and samples as the wheel has them, the manual page, the licenses and the change log."""
    name, day = package.name, datetime.fromtimestamp(package.date, UTC)
    documents = stage / "usr/share/doc" / name
    shutil.copytree(share / "doc" / "vedette", documents, ignore=shutil.ignore_patterns("LICENSE", "CHANGELOG.md"))
    _link(stage / "opt/vedette/share/doc/vedette", f"/usr/share/doc/{name}")
    text = manual_page(package.version, f"{day:%Y-%m-%d}", name)
    _compress(stage / "usr/share/man/man1/vedette.1.gz", text)
    notice = (TEMPLATES / "copyright").read_text() + "\n" + (ROOT / "THIRD_PARTY.md").read_text()
    _write(documents / "copyright", notice)
    entry = f"{name} ({package.version}) stable; urgency=medium\n\n  * See CHANGELOG.md.gz.\n\n"
    _compress(documents / "changelog.gz", f"{entry} -- {maintainer()}  {day:%a, %d %b %Y %H:%M:%S} +0000\n")
    _compress(documents / "CHANGELOG.md.gz", (ROOT / "CHANGELOG.md").read_text())
    overrides = (TEMPLATES / "lintian-overrides").read_text()
    _write(stage / "usr/share/lintian/overrides" / name, overrides.format(package=name))


def _add_control(stage: Path, package: Package) -> None:
    """Debian's own files."""
    for script in SCRIPTS:
        _write(stage / "DEBIAN" / script, (TEMPLATES / script).read_text())
    _write(stage / "DEBIAN" / "md5sums", digests(stage))
    _write(stage / "DEBIAN" / "control", control_file(stage, package))


def _set_modes_and_times(stage: Path, date: int) -> None:
    programs = {stage / "opt/vedette/bin/vedette", stage / "usr/share/python3/runtime.d/vedette.rtupdate"}
    programs |= {stage / "DEBIAN" / name for name in SCRIPTS}
    for path in [stage, *stage.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path in programs else 0o644)
        os.utime(path, (date, date), follow_symlinks=False)


def read_date() -> int:
    """SOURCE_DATE_EPOCH, else the time of the last commit."""
    if stated := os.environ.get("SOURCE_DATE_EPOCH"):
        return int(stated)
    command = ["git", "-C", str(ROOT), "log", "-1", "--format=%ct"]
    return int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)  # noqa: S603


@click.command(help=__doc__)
@click.option("--flavor", type=click.Choice(list(FLAVORS)), default="full", show_default=True)
@click.option("--architecture", "architectures", multiple=True, type=click.Choice(ARCHITECTURES), default=ARCHITECTURES)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build" / "deb")
@click.option("--cache", type=click.Path(path_type=Path, file_okay=False), default=ROOT / "build" / "deb-cache")
def main(flavor: str, architectures: tuple[str, ...], out: Path, cache: Path) -> None:
    """Build the packages of a flavor."""
    date = read_date()
    wheel = build_wheel(ROOT, out / "stage" / "wheel", date)
    for package in plan_packages(FLAVORS[flavor], architectures, date):
        path = build_package(package, wheel, cache, out)
        click.echo(f"{path}: {path.stat().st_size / 1e6:.1f} MB")
    shutil.rmtree(out / "stage")


if __name__ == "__main__":
    main()
