"""A Debian of another architecture, arm64, whose programs QEMU runs, with all the programs that those start.

The kernel hands arm64 programs to QEMU (binfmt_misc) in a user namespace of the system's own (deploy/image/emulate), so
nothing changes on this machine. Programs are emulated, not a machine: the kernel is this one's, systemd does not
run, and QEMU has neither filters of system calls (seccomp) nor limits of the address space. It gives no milliseconds.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from paths import ROOT

_EMULATE = ROOT / "deploy" / "image" / "emulate"
NEEDED = ("mmdebstrap", "unshare", "ip", "qemu-aarch64-static")
CORE = (
    "processor\t: {}\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\nCPU architecture: 8\n"
    "CPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
)
"""A core of a Raspberry Pi 4 in /proc/cpuinfo, as the back ends see it. They would read the host's otherwise."""
_ENTER = r"""
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
mount --bind "$1/cpuinfo" "$1/proc/cpuinfo"
exec chroot "$1" env -i QEMU_CPU=cortex-a72 PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 \
  DEBIAN_FRONTEND=noninteractive sh -euc "$2"
"""


def start_emulating(*command: str, offline: bool = False) -> subprocess.Popen[str]:
    """Starts a command as root of namespaces in which arm64 programs run; what it prints goes to a pipe.

    Args:
        command: a program and its arguments
        offline: its network is a loopback interface of its own
    """
    whole = [str(_EMULATE), *(["--offline"] if offline else []), *command]
    return subprocess.Popen(
        whole, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def why_not_here() -> str:
    """Why this machine cannot emulate a system; empty: it can."""
    if os.geteuid() != 0:
        return "needs root"
    if missing := [each for each in NEEDED if shutil.which(each) is None]:
        return f"needs {', '.join(missing)}: apt-get install mmdebstrap iproute2 qemu-user-static"
    process = start_emulating("true")
    reason = process.communicate()[0].strip()
    return f"this kernel has no binfmt_misc in user namespaces (Linux 6.7): {reason}" if process.returncode else ""


class EmulatedSystem:
    """A Debian for arm64 in a folder."""

    def __init__(self, release: str, root: Path) -> None:
        self.release, self.root = release, root

    def make(self, *included: str) -> None:
        """Installs it from Debian's archive; the scripts of its packages run emulated.

        That takes minutes, so a copy stays in build/arm64-systems.
        """
        kept = ROOT / "build" / "arm64-systems" / self.release
        if not kept.exists():
            self._install(kept, included)
        subprocess.run(["cp", "--archive", "--reflink=auto", str(kept), str(self.root)], check=True)

    def _install(self, kept: Path, included: tuple[str, ...]) -> None:
        root = kept.with_suffix(".part")
        subprocess.run(["rm", "-rf", str(root)], check=True)
        root.parent.mkdir(parents=True, exist_ok=True)
        command = ["mmdebstrap", "--quiet", "--mode=root", "--skip=check/qemu", "--architectures=arm64"]
        command += ["--variant=minbase", f"--include={','.join(included)}", self.release, str(root)]
        process = start_emulating(*command)
        said = process.communicate()[0]
        if process.returncode:
            pytest.skip(f"no arm64 system of {self.release}: {said.strip()[-300:]}")
        EmulatedSystem(self.release, root).add_cores()
        root.rename(kept)

    def add_cores(self) -> None:
        """Writes what its programs read of the processor."""
        (self.root / "cpuinfo").write_text("".join(CORE.format(number) for number in range(4)))
        cores = self.root / "sys" / "devices" / "system" / "cpu"
        cores.mkdir(parents=True)
        for name in ("possible", "present"):
            (cores / name).write_text("0-3\n")

    def start(self, script: str, offline: bool = True) -> subprocess.Popen[str]:
        """Starts a shell script as its root; without `offline` it shares this machine's network."""
        return start_emulating("bash", "-ec", _ENTER, "bash", str(self.root), script, offline=offline)

    def run(self, script: str, offline: bool = True) -> str:
        """What a shell script prints; fails if the script does."""
        process = self.start(script, offline)
        said: str = process.communicate()[0]
        assert process.returncode == 0, said
        return said
