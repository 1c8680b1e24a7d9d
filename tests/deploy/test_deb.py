"""The Debian package: built twice with equal bytes; installed, upgraded, removed and purged without a network.

The systems are Debian's bookworm and trixie as mmdebstrap makes them. The packages that they need are fetched when they
are made; what is installed then has no network but its own loopback interface.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from paths import ROOT, TESTS

pytest.importorskip("build")

from vedette.deploy.debian import build_deb, packages, wheels

NEEDED = ("mmdebstrap", "dpkg-deb", "unshare", "readelf")
MISSING = [each for each in NEEDED if shutil.which(each) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform != "linux" or os.geteuid() != 0, reason="needs root on Linux"),
    pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install mmdebstrap binutils"),
]
CACHE = ROOT / "build" / "deb-cache"
DATE = 1_767_225_600
MAX_INSTALLED_MB = {"vedette": 430, "vedette-slim": 280}
IMPORTS = (
    "import cv2, cryptography.hazmat.primitives.asymmetric.ed25519, cryptography.x509, lap, msgspec, numpy.fft, "
    "numpy.linalg, numpy.random, onnxruntime, paho.mqtt.client, prometheus_client, tomli_w; "
    "import vedette.runtime.daemon, vedette.runtime.camera.capture"
)

PAGE = (
    "import io, vedette.runtime.page.page_server; from PIL import Image; "
    'Image.new("RGB", (64, 48)).save(io.BytesIO(), "JPEG", quality=80)'
)


def packages_of(flavor: str) -> list[packages.Package]:
    return packages.plan_packages(packages.FLAVORS[flavor], ("amd64",), DATE)


@pytest.fixture(scope="module")
def own_wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return wheels.build_wheel(ROOT, tmp_path_factory.mktemp("wheel"), DATE)


@pytest.fixture(scope="module")
def first(own_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    (package,) = packages_of("full")
    return build_deb.build_package(package, own_wheel, CACHE, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def later(own_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same with a higher version."""
    (package,) = packages_of("full")
    package = msgspec.structs.replace(package, version=f"{package.version}+later")
    return build_deb.build_package(package, own_wheel, CACHE, tmp_path_factory.mktemp("later"))


class System:
    """A Debian system in a folder."""

    def __init__(self, release: str, root: Path) -> None:
        self.release, self.root = release, root

    def make(self, *included: str) -> None:
        command = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={','.join(('python3', *included))}"]
        done = subprocess.run(
            [*command, self.release, str(self.root)], capture_output=True, text=True, check=False, timeout=900
        )
        if done.returncode:
            pytest.skip(f"no packages of {self.release}: {done.stderr.strip()[-300:]}")

    def run(self, script: str, *, check: bool = True) -> str:
        """What a shell command prints that runs as root of the system, without a network."""
        enter = (
            'mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && exec chroot "$0" env -i '
            'PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive sh -euc "$1"'
        )
        command = ["unshare", "--net", "--mount", "sh", "-c", enter, str(self.root), script]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        assert not check or done.returncode == 0, done.stdout
        return done.stdout

    def install(self, deb: Path) -> None:
        shutil.copy(deb, self.root / "root")
        self.run(f"apt-get install -y /root/{deb.name}")
        (self.root / "root" / deb.name).unlink()

    def size(self) -> int:
        """MB of /opt/vedette, with Python's compiled files."""
        megabytes = int(self.run("du -sm /opt/vedette").split()[0])
        print(f"{self.release}: {megabytes} MB in /opt/vedette")  # noqa: T201
        return megabytes


@pytest.fixture(scope="module", params=list(packages.RELEASES))
def system(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    system = System(request.param, tmp_path_factory.mktemp("system") / request.param)
    system.make("systemd")
    shutil.copytree(TESTS / "bundles" / "v1", system.root / "bundle")
    yield system
    shutil.rmtree(system.root)


def test_the_same_sources_give_the_same_bytes(
    first: Path, own_wheel: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (package,) = packages_of("full")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    monkeypatch.setenv("PYTHONHASHSEED", "7")
    again = wheels.build_wheel(ROOT, tmp_path / "wheel", DATE)
    assert again.read_bytes() == own_wheel.read_bytes()
    assert build_deb.build_package(package, again, CACHE, tmp_path / "again").read_bytes() == first.read_bytes()


@pytest.fixture(scope="module")
def slim(own_wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """One for each release."""
    out = tmp_path_factory.mktemp("slim")
    return [build_deb.build_package(package, own_wheel, CACHE, out) for package in packages_of("slim")]


@pytest.mark.skipif(shutil.which("lintian") is None, reason="needs lintian: apt-get install lintian")
def test_lintian_finds_no_error(first: Path, slim: list[Path]) -> None:
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", *map(str, [first, *slim])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_a_box_installs_upgrades_and_removes_it_offline(system: System, first: Path, later: Path) -> None:
    started = time.monotonic()
    system.install(first)
    print(f"{system.release}: installed in {time.monotonic() - started:.1f} s")  # noqa: T201
    assert system.size() <= MAX_INSTALLED_MB["vedette"]
    assert system.run("vedette --version").startswith("vedette ")
    system.run(f"/opt/vedette/bin/python3 -I -c '{IMPORTS}, ai_edge_litert.interpreter, zeroconf; {PAGE}'")
    checks = system.run("vedette doctor")
    assert "ok   onnxruntime" in checks
    assert "ok   ai-edge-litert" in checks
    assert system.run("id -nG vedette").split() == ["vedette", "video"]
    modes = system.run(
        "stat -c '%a %U:%G' /etc/vedette/cameras /etc/vedette/keys /etc/vedette/secrets /var/lib/vedette"
    )
    assert modes.splitlines() == ["755 root:root", "755 root:root", "750 root:vedette", "755 vedette:vedette"]

    # Configuration and state outlive an upgrade, and what is removed; every file of the package goes.
    system.run("cp /bundle/vedette.pub /etc/vedette/keys/ && echo 'a=1' > /etc/vedette/vedette.toml")
    system.run("echo event > /var/lib/vedette/door && chown vedette: /var/lib/vedette/door")
    system.install(later)
    assert system.run("dpkg-query -W -f '${Version}' vedette").endswith("+later")
    assert system.run("cat /etc/vedette/vedette.toml /var/lib/vedette/door") == "a=1\nevent\n"
    golden = system.run("vedette verify /bundle/weave.vedette")
    assert golden.count("golden outputs reproduced, largest difference 0 steps") == 2, golden
    assert system.run("find /opt/vedette/lib/shared/vedette -name '*.pyc' | wc -l").strip() != "0"
    system.run("apt-get remove -y vedette")
    assert not (system.root / "opt" / "vedette").exists()
    assert system.run("cat /etc/vedette/vedette.toml /var/lib/vedette/door") == "a=1\nevent\n"

    # Only a purge takes them.
    system.run("dpkg --purge vedette")
    left = system.run("find / -xdev -iname '*vedette*' -not -path '/var/log/*' -not -path '/bundle/*'")
    assert left == ""


def test_the_slim_flavor_runs_one_back_end_and_takes_the_place_of_the_full_one(
    system: System, first: Path, slim: list[Path]
) -> None:
    deb = slim[list(packages.RELEASES).index(system.release)]
    system.install(first)
    system.run("cp /bundle/vedette.pub /etc/vedette/keys/ && echo event > /var/lib/vedette/door")
    system.install(deb)
    system.run("dpkg --purge vedette")  # what the full one left behind: nothing that the slim one uses
    assert system.run("cat /var/lib/vedette/door") == "event\n"
    assert system.size() <= MAX_INSTALLED_MB["vedette-slim"]
    system.run(f"/opt/vedette/bin/python3 -I -c '{IMPORTS}'")
    assert not (system.root / "usr/lib/systemd/system/vedette-page.service").exists(), (
        "the page's libraries are not there"
    )
    golden = system.run("vedette verify /bundle/weave.vedette")
    assert golden.count("golden outputs reproduced, largest difference 0 steps") == 1, golden
    system.run("dpkg --purge vedette-slim")
    assert not (system.root / "var" / "lib" / "vedette").exists()


def test_the_container_recipe_makes_a_system_that_runs_it_without_root(first: Path, tmp_path: Path) -> None:
    """No container engine: its base system with the packages that the recipe names, and its user and entry point."""
    recipe = (ROOT / "deploy" / "container" / "Containerfile").read_text()
    (release,) = re.findall(r"^FROM docker\.io/library/debian:(\w+)-slim$", recipe, re.MULTILINE)
    (named,) = re.findall(r"apt-get install .*?\\\n(.*?) /packages/", recipe, re.DOTALL)
    (user,) = re.findall(r"^USER (\w+)$", recipe, re.MULTILINE)
    (entry,) = re.findall(r'^ENTRYPOINT \["(.*)"\]$', recipe, re.MULTILINE)
    system = System(release, tmp_path / release)
    system.make(*named.split())
    system.install(first)
    shutil.copytree(TESTS / "bundles" / "v1", system.root / "bundle")
    as_user = f"setpriv --reuid {user} --regid {user} --init-groups {entry}"
    assert system.run(f"{as_user} --version").startswith("vedette ")
    assert "ok   onnxruntime" in system.run(f"{as_user} doctor")
    golden = system.run(f"{as_user} verify --keys /bundle /bundle/weave.vedette")
    assert golden.count("golden outputs reproduced, largest difference 0 steps") == 2, golden
    (system.root / "etc/vedette/vedette.toml").write_text("")
    (system.root / "etc/vedette/cameras/door.toml").write_text(
        'source = "v4l2:/dev/video0"\nbundle = "x"\n[[rules]]\nuse = "presence"\n'
    )
    assert system.run(f"{as_user} status || echo $?").endswith("4\n")  # unhealthy while no daemon answers
