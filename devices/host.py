"""Profile of this machine, read from /proc."""

from __future__ import annotations

import os
import platform
from pathlib import Path

from .profile import DeviceProfile

# Part numbers of Arm cores (Main ID Register, bits 4 to 15) that the profiles name.
_ARM_PARTS = {
    "0xd03": "Cortex-A53",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd42": "Cortex-A78AE",
}
_FEATURES = ("asimd", "asimddp", "i8mm", "sve", "avx2", "avx512f", "avx512_vnni", "avx_vnni")


def read_host_profile(proc: Path = Path("/proc")) -> DeviceProfile:
    """The profile of this machine; a field that /proc does not state is `unknown`, or 0 for the memory.

    Args:
        proc: the proc file system
    """
    info = _cpuinfo(proc)
    flags = (info.get("flags") or info.get("Features") or "").split()
    return DeviceProfile(
        name="host",
        title=_model(info),
        cpu=_ARM_PARTS.get(info.get("CPU part", ""), info.get("model name", "unknown")),
        cores=os.cpu_count() or 1,
        architecture=platform.machine(),
        memory_mb=_memory_mb(proc),
        features=tuple(name for name in _FEATURES if name in flags),
        source="/proc",
    )


def _cpuinfo(proc: Path) -> dict[str, str]:
    try:
        lines = (proc / "cpuinfo").read_text().splitlines()
    except OSError:
        return {}
    pairs = (line.partition(":") for line in lines if ":" in line)
    return {key.strip(): value.strip() for key, _, value in pairs}


def _model(info: dict[str, str]) -> str:
    tree = Path("/proc/device-tree/model")
    if tree.exists():
        return tree.read_text(errors="replace").rstrip("\0\n")
    return info.get("Model") or info.get("model name") or "unknown"


def _memory_mb(proc: Path) -> int:
    try:
        for line in (proc / "meminfo").read_text().splitlines():
            if line.startswith("MemTotal:"):
                return int(line.split()[1]) // 1024
    except OSError:
        pass
    return 0
