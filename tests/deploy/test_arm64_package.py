"""The arm64 package runs on arm64: its tree beside Debian's arm64 Python, under emulation (`make test-arm64`).

One process is emulated, not a system: a program that it starts would be the host's. So what runs in processes of its
own (the self-test, the capture of cameras) is not tested here. Emulation says nothing about milliseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import msgspec
import pytest
from paths import ROOT, TESTS

pytest.importorskip("build")

from vedette.deploy.debian import build_deb, packages, wheels

NEEDED = ("mmdebstrap", "dpkg-deb", "readelf", "qemu-aarch64")
MISSING = [each for each in NEEDED if shutil.which(each) is None]

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(
        bool(MISSING), reason=f"needs {', '.join(MISSING)}: apt-get install mmdebstrap binutils qemu-user"
    ),
]
DATE = 1_767_225_600
PYTHON_PACKAGES = "python3-minimal,python3,libstdc++6,zlib1g,base-files,coreutils,dash"
# A Raspberry Pi 4, as the back ends see it. Without these files they would read the host's, and crash.
CORE = (
    "processor\t: {}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
)
GOLDEN = """\
import json, platform, sys
from pathlib import Path
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.inference.backends import open_backend
from vedette.runtime.inference.golden_outputs import max_step_difference
import zeroconf

folder = Path(sys.argv[1])  # of the host: QEMU does not look for it in the root, since it is not there
bundle = Bundle.open(folder / "weave.vedette", Keyring.read(folder))
steps = {name: max_step_difference(bundle, open_backend(name, bundle, 1)) for name in bundle.manifest.models}
print(json.dumps({"machine": platform.machine(), "steps": steps}))
"""


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("arm64")
    (package,) = packages.plan_packages(packages.FLAVORS["full"], ("arm64",), DATE)
    wheel = wheels.build_wheel(ROOT, folder / "wheel", DATE)
    return build_deb.build_package(package, wheel, ROOT / "build" / "deb-cache", folder / "deb")


@pytest.fixture(scope="module", params=list(packages.RELEASES))
def python(request: pytest.FixtureRequest, package: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The command that runs the package's Python, emulated."""
    root = tmp_path_factory.mktemp("root") / request.param
    command = ["mmdebstrap", "--quiet", "--architectures=arm64", "--variant=extract", f"--include={PYTHON_PACKAGES}"]
    done = subprocess.run([*command, request.param, str(root)], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no packages of {request.param} for arm64: {done.stderr.strip()[-300:]}")
    subprocess.run(["dpkg-deb", "-x", str(package), str(root)], check=True)
    cores = root / "sys" / "devices" / "system" / "cpu"
    cores.mkdir(parents=True)
    (root / "proc").mkdir(exist_ok=True)
    (root / "proc" / "cpuinfo").write_text("".join(CORE.format(number) for number in range(4)))
    for name in ("possible", "present"):
        (cores / name).write_text("0-3\n")
    # Python finds its environment by the name that it is called by; QEMU looks for files in the root first.
    program = root / "usr" / "bin" / f"python{packages.RELEASES[request.param]}"
    emulator = ["qemu-aarch64", "-cpu", "cortex-a72", "-0", "/opt/vedette/bin/python3", "-L", str(root), str(program)]
    return ["env", "-i", "PATH=/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=1", *emulator]


def test_both_back_ends_reproduce_the_golden_outputs_on_arm64(python: list[str]) -> None:
    done = subprocess.run(
        [*python, "-c", GOLDEN, str(TESTS / "bundles" / "v1")], capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stderr
    found = msgspec.json.decode(done.stdout.splitlines()[-1])
    assert found["machine"] == "aarch64"
    assert found["steps"] == {"onnx": 0, "tflite": 0}


def test_the_command_line_starts_on_arm64(python: list[str]) -> None:
    code = "from vedette.runtime.cli import main; main(['--version'])"
    done = subprocess.run([*python, "-c", code], capture_output=True, text=True, check=False, timeout=300)
    assert done.stdout.startswith("vedette "), done.stderr
