"""Limits that a process sets itself before it handles what may be hostile: memory, time, files, network.

They need no privilege and cannot be lifted again. Memory and time are resource limits (setrlimit(2)). A filter of
system calls (seccomp(2), set with prctl and without a library) takes away sockets, new programs, signals to other
processes, and every change of a file. Reading files stays possible, because libraries load with it. The filter knows
64-bit x86 and Arm; elsewhere `forbid_network_and_changes` returns False, and only the resource limits hold.

A process that drives an accelerator gets weaker limits: its driver opens device files for writing, asks the kernel over
local sockets, and reserves far more addresses than it uses, so that data are limited instead (`limit_data`). Files
cannot be made, and by `limit_resources` none can be written; no socket reaches another machine.

It uses the standard library only, because the system's Python of a Raspberry Pi runs the capture process.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import resource
import signal
import struct
from pathlib import Path

# System calls that the filter refuses, by name: their numbers on x86-64 and on 64-bit Arm (arch/x86/entry/syscalls and
# include/uapi/asm-generic/unistd.h in Linux); None: the architecture lacks it.
_REFUSED: dict[str, tuple[int | None, int | None]] = {
    "socket": (41, 198),
    "socketpair": (53, 199),
    "connect": (42, 203),
    "bind": (49, 200),
    "listen": (50, 201),
    "accept": (43, 202),
    "accept4": (288, 242),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fork": (57, None),
    "vfork": (58, None),
    "ptrace": (101, 117),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "kill": (62, 129),
    "tkill": (200, 130),
    "pidfd_send_signal": (424, 424),
    "pidfd_getfd": (438, 438),
    "unlink": (87, None),
    "unlinkat": (263, 35),
    "rmdir": (84, None),
    "rename": (82, None),
    "renameat": (264, 38),
    "renameat2": (316, 276),
    "truncate": (76, 45),
    "ftruncate": (77, 46),
    "creat": (85, None),
    "chmod": (90, None),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "mkdir": (83, None),
    "mkdirat": (258, 34),
    "link": (86, None),
    "linkat": (265, 37),
    "symlink": (88, None),
    "symlinkat": (266, 36),
    "mknod": (133, None),
    "mknodat": (259, 33),
    "openat2": (437, 437),
    "io_uring_setup": (425, 425),
    "bpf": (321, 280),
    "mount": (165, 40),
    "chroot": (161, 51),
}
_SOCKET_CALLS = frozenset({"socket", "socketpair", "connect", "bind"})
"""Of the refused ones, what a driver needs; its sockets are of `_LOCAL_FAMILIES`."""
_LOCAL_FAMILIES = (1, 16)  # AF_UNIX; AF_NETLINK, over which libusb hears of devices
_OPEN = ((2, 1), (257, 2)), ((56, 2),)
"""System calls that open a file, and which argument holds the flags: on x86-64 and on 64-bit Arm."""
_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the tables above, and the kernel's number of the architecture (include/uapi/linux/audit.h)."""
_LOAD, _IF_EQUAL, _IF_GREATER_EQUAL, _IF_ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _DENY = 0x7FFF0000, 0x00050000 | 1  # SECCOMP_RET_ALLOW; SECCOMP_RET_ERRNO with EPERM
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data; arguments have 8 bytes each
_X32 = 0x40000000  # x86-64 kernels may take the calls of a second numbering from here
_PR_SET_PDEATHSIG, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS, _SECCOMP_MODE_FILTER = 1, 22, 38, 2
_CAPABILITIES, _CAP_DAC_READ_SEARCH = 0x20080522, 1 << 2  # of capset(2): its version, and the right to read all files


def give_up_root() -> None:
    """This process can never be root again: its effective user and group become its only ones.

    A process that root starts while it acts for another user has that user as its effective one alone, and could make
    itself root. If the effective user is root, it keeps of its capabilities only the one to read all files: libraries
    may lie in the home folder of the user who called sudo. Call it before `die_with_parent`, which the kernel forgets
    when the user changes.

    Raises:
        OSError: the kernel refuses it.
    """
    user, group = os.geteuid(), os.getegid()
    if 0 in os.getresuid():
        os.setresuid(-1, 0, -1)  # groups are root's to change
        with contextlib.suppress(PermissionError):  # a user namespace without the right to change groups
            os.setgroups([])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    library = ctypes.CDLL(None, use_errno=True)
    zero = ctypes.c_ulong(0)
    failed = library.prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0
    permitted = int(Path("/proc/self/status").read_text().partition("CapPrm:")[2].split()[0], 16)
    if permitted:  # a service's filter may refuse capset(2) to a process that has none
        kept = permitted & _CAP_DAC_READ_SEARCH if user == 0 else 0
        header = struct.pack("Ii", _CAPABILITIES, 0)
        sets = struct.pack("6I", kept, kept, 0, 0, 0, 0)  # effective, permitted and inheritable, twice 32 bits each
        failed = failed or library.capset(header, sets) != 0
    if failed:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def die_with_parent() -> None:
    """This process gets a SIGKILL when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def read_memory_limit() -> int:
    """Bytes that this process may use: the memory of the machine, or less if its control groups allow less."""
    limit = os.sysconf("SC_PHYS_PAGES") * resource.getpagesize()
    try:
        group = Path("/proc/self/cgroup").read_text().partition("0::/")[2].splitlines()[:1]
        path = Path("/sys/fs/cgroup", *group)
        for folder in (path, *path.parents):
            if (file := folder / "memory.max").is_file() and (text := file.read_text().strip()).isdigit():
                limit = min(limit, int(text))
    except (OSError, ValueError):
        return limit
    return limit


def read_resident_memory() -> int:
    """Bytes of memory that this process takes now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def limit_memory(extra_bytes: int) -> None:
    """Limits the address space to what is mapped now and `extra_bytes` more."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


def limit_data(extra_bytes: int) -> None:
    """Limits writable private memory to what there is now and `extra_bytes` more; reserved addresses are free."""
    pages = int(Path("/proc/self/statm").read_text().split()[5])
    limit = pages * resource.getpagesize() + extra_bytes
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def limit_resources(cpu_seconds: int, files: int = 128) -> None:
    """Limits processor time and open files; no core dumps, and no bytes may be added to a file."""
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def forbid_network_and_changes(drives_device: bool = False) -> bool:
    """Takes away sockets, new programs, signals to others and changes of files, for all threads started from now on.

    Args:
        drives_device: device files may be opened for writing, and sockets that stay on this machine

    Returns:
        False: this kernel or architecture cannot do it.
    """
    program = _assemble_filter(drives_device)
    if program is None:
        return False
    code = ctypes.create_string_buffer(program, len(program))
    # struct sock_fprog: the number of instructions, padding, and their address.
    header = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(code)))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    zero = ctypes.c_ulong(0)
    if prctl(_PR_SET_NO_NEW_PRIVS, ctypes.c_ulong(1), zero, zero, zero) != 0:
        return False
    return bool(prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), header, zero, zero) == 0)


def _assemble_filter(drives_device: bool) -> bytes | None:
    """The program of the filter, 8 bytes for each instruction; None: unknown architecture."""
    if platform.machine() not in _ARCHITECTURES or struct.calcsize("P") != 8:
        return None
    column, architecture = _ARCHITECTURES[platform.machine()]
    refused = {name: each[column] for name, each in _REFUSED.items()}
    writing = os.O_CREAT | os.O_TRUNC | (0 if drives_device else os.O_WRONLY | os.O_RDWR)
    # A label in place of the distance of a jump: "deny" and "allow" are the last two instructions.
    lines: list[tuple[int, int | str, int | str, int]] = [
        (_LOAD, 0, 0, _ARCHITECTURE),
        (_IF_EQUAL, 0, "deny", architecture),
        (_LOAD, 0, 0, _NUMBER),
    ]
    if column == 0:
        lines.append((_IF_GREATER_EQUAL, "deny", 0, _X32))
    if drives_device:
        for number in (refused.pop("socket"), refused.pop("socketpair")):
            assert number is not None
            lines.append((_IF_EQUAL, 0, len(_LOCAL_FAMILIES) + 2, number))
            lines.append((_LOAD, 0, 0, _ARGUMENTS))
            lines += [(_IF_EQUAL, "allow", 0, family) for family in _LOCAL_FAMILIES]
            lines.append((_IF_ANY_BIT, "deny", "deny", 0))
        refused = {name: number for name, number in refused.items() if name not in _SOCKET_CALLS}
    lines += [(_IF_EQUAL, "deny", 0, number) for number in refused.values() if number is not None]
    for number, argument in _OPEN[column]:
        lines.append((_IF_EQUAL, 0, 2, number))
        lines.append((_LOAD, 0, 0, _ARGUMENTS + 8 * argument))
        lines.append((_IF_ANY_BIT, "deny", "allow", writing))
    lines += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _DENY)]
    places = {"allow": len(lines) - 2, "deny": len(lines) - 1}
    return b"".join(
        struct.pack("HBBI", code, *(_distance(each, index, places) for each in (if_true, if_false)), value)
        for index, (code, if_true, if_false, value) in enumerate(lines)
    )


def _distance(target: int | str, index: int, places: dict[str, int]) -> int:
    """How many instructions a jump at `index` leaves out."""
    return places[target] - index - 1 if isinstance(target, str) else target


def describe_exit(code: int) -> str:
    """The signal or exit code with which a process ended, in words."""
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"
