"""What a process takes from itself is gone, and what libraries need to load stays."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from vedette.runtime import process_limits
from vedette.runtime.camera.capture import decoding
from vedette.runtime.inference import self_test_process
from vedette.runtime.process_limits import read_memory_limit

HEAD = "import os, socket, sys\nfrom vedette.runtime import process_limits\n"


def run_limited(code):
    done = subprocess.run([sys.executable, "-c", HEAD + code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the filter knows no other architecture")
@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket()",
        "socket.create_connection(('127.0.0.1', 9))",
        "socket.socketpair()",
        "open(path, 'w')",
        "open(path, 'r+')",
        "open(path + '.new', 'x')",
        "os.truncate(path, 0)",
        "os.unlink(path)",
        "os.rename(path, path + '.old')",
        "os.mkdir(path + '.folder')",
        "os.symlink(path, path + '.link')",
        "os.chmod(path, 0)",
        "os.kill(os.getppid(), 0)",
        "os.execv('/bin/true', ['true'])",
        "os.pidfd_open(os.getppid()) and __import__('signal').pidfd_send_signal(os.pidfd_open(os.getppid()), 0)",
    ],
)
def test_filter_refuses(tmp_path, attempt):
    path = tmp_path / "outbox.db"
    path.write_text("events")
    code = (
        f"path = {str(path)!r}\nassert process_limits.forbid_network_and_changes()\n"
        f"try:\n    {attempt}\nexcept PermissionError:\n    print('refused')\n"
    )
    assert run_limited(code) == "refused\n"
    assert path.read_text() == "events"


@pytest.mark.skipif(platform.machine() not in ("x86_64", "aarch64"), reason="the filter knows no other architecture")
@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket()",
        "socket.socket(socket.AF_INET6)",
        "open(path + '.new', 'x')",
        "open(path, 'w')",
        "os.unlink(path)",
        "os.execv('/bin/true', ['true'])",
        "os.kill(os.getppid(), 0)",
    ],
)
def test_filter_of_an_accelerator_refuses(tmp_path, attempt):
    path = tmp_path / "outbox.db"
    path.write_text("events")
    code = (
        f"path = {str(path)!r}\nassert process_limits.forbid_network_and_changes(drives_device=True)\n"
        f"try:\n    {attempt}\nexcept PermissionError:\n    print('refused')\n"
    )
    assert run_limited(code) == "refused\n"
    assert path.read_text() == "events"


def test_filter_of_an_accelerator_leaves_devices_and_local_sockets(tmp_path):
    """A device file is opened for writing; an existing file too, but nothing can be written to it."""
    path = tmp_path / "outbox.db"
    path.write_text("events")
    code = (
        "process_limits.limit_resources(60)\nassert process_limits.forbid_network_and_changes(drives_device=True)\n"
        "os.write(os.open('/dev/null', os.O_RDWR), b'x')\n"
        "socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 15).bind((0, 0))\nsocket.socketpair()\n"
        f"file = os.open({str(path)!r}, os.O_RDWR)\n"
        "try:\n    os.write(file, b'lost')\nexcept OSError as error:\n    print(error.strerror)\n"
    )
    assert run_limited(code) == "File too large\n"
    assert path.read_text() == "events"


def test_data_are_limited_and_reserved_addresses_are_not():
    code = (
        "import mmap\nprocess_limits.limit_data(64 << 20)\n"
        "reserved = mmap.mmap(-1, 1 << 36, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, prot=0)\n"
        "bytearray(32 << 20)\n"
        "try:\n    bytearray(128 << 20)\nexcept MemoryError:\n    print('refused')\n"
    )
    assert run_limited(code) == "refused\n"


def test_filter_leaves_reading_threads_and_pipes(tmp_path):
    (tmp_path / "file").write_text("text")
    code = (
        "process_limits.limit_resources(60)\nprocess_limits.forbid_network_and_changes()\n"
        f"import threading\nthread = threading.Thread(target=lambda: print(open({str(tmp_path / 'file')!r}).read()))\n"
        "thread.start(); thread.join()\n"
        "read_end, write_end = os.pipe(); os.write(write_end, b'x'); print(os.read(read_end, 1))\n"
    )
    assert run_limited(code) == "text\nb'x'\n"


def test_memory_is_limited():
    code = (
        "process_limits.limit_memory(64 << 20)\nbytearray(32 << 20)\n"
        "try:\n    bytearray(128 << 20)\nexcept MemoryError:\n    print('refused')\n"
    )
    assert run_limited(code) == "refused\n"


def test_processor_time_is_limited():
    code = HEAD + "process_limits.limit_resources(1)\nwhile True: pass\n"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode in (-24, -9)  # SIGXCPU, SIGKILL


def test_memory_limit_is_at_most_what_is_installed():
    assert 0 < read_memory_limit() <= os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
@pytest.mark.parametrize("user", [0, 65534])
def test_root_is_given_up_for_good(tmp_path, user):
    path = tmp_path / "new"
    code = (
        "os.setgroups([4, 27])\n"
        f"os.setresgid(0, {user}, {user}); os.setresuid(0, {user}, {user})  # as after execve(2)\n"
        "process_limits.give_up_root()\n"
        "status = dict(line.split(':\\t') for line in open('/proc/self/status').read().splitlines())\n"
        "print({*os.getresuid()}, {*os.getresgid()}, os.getgroups(), status['NoNewPrivs'], status['CapInh'])\n"
        "print(int(status['CapPrm'], 16), int(status['CapEff'], 16))\n"
        "for attempt in (lambda: os.setuid(1), lambda: os.setgroups([4]), lambda: os.setgid(1),\n"
        f"                lambda: os.chown({str(path)!r}, 1, 1)):\n"
        "    try:\n        attempt()\n        print('allowed')\n    except PermissionError:\n        pass\n"
    )
    path.touch()
    kept = 4 if user == 0 else 0
    assert run_limited(code) == f"{{{user}}} {{{user}}} [] 1 {'0' * 16}\n{kept} {kept}\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give it up")
def test_a_process_without_rights_asks_the_kernel_for_nothing_that_a_service_refuses():
    """The unit's filter answers capset(2), setresuid(2) and setgroups(2) with EPERM."""
    code = (
        "import ctypes\n"
        "os.setgroups([]); os.setresgid(1, 1, 1); os.setresuid(1, 1, 1)\n"
        "def refuse(*_):\n    raise PermissionError\n"
        "os.setgroups = os.setresgid = os.setresuid = refuse\n"
        "class Library:\n"
        "    prctl = ctypes.CDLL(None).prctl\n"
        "    capset = staticmethod(lambda *_: -1)\n"
        "ctypes.CDLL = lambda *_, **__: Library\n"
        "process_limits.give_up_root()\n"
    )
    run_limited(code)


def test_processes_give_up_root_before_they_read_anything(monkeypatch):
    class GivenUp(Exception):
        pass

    def give_up():
        raise GivenUp

    monkeypatch.setattr(process_limits, "give_up_root", give_up)
    with pytest.raises(GivenUp):
        self_test_process.main(-1, -1)
    with pytest.raises(GivenUp):
        decoding.main()
