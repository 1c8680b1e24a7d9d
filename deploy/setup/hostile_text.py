"""Text that may be hostile is read in a process of its own, without root, network and files to write.

The process is forked, so that it needs no file, and nobody can trace it: the kernel forbids that for a process that
changed its user.
"""

from __future__ import annotations

import os
import pwd
import select
import signal
import time
from collections.abc import Callable

import msgspec

from vedette.runtime import process_limits
from vedette.runtime.errors import UNREADABLE, ConfigProblem, MachineProblem, Problem

CPU_SECONDS, CLOCK_SECONDS = 10, 60.0
MEMORY_BYTES = 256 << 20
_MAX_ANSWER_BYTES = 64 << 10
_NOBODY = "nobody"


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    values: tuple[str, ...] = ()
    problem: str = ""
    hint: str = ""


def read_without_root(
    read: Callable[[], tuple[str, ...]],
    cpu_seconds: int = CPU_SECONDS,
    clock_seconds: float = CLOCK_SECONDS,
    memory_bytes: int = MEMORY_BYTES,
) -> tuple[str, ...]:
    """What `read` returns, called in a process with limits; call it where there is one thread.

    Args:
        read: reads text that is in memory
        cpu_seconds: processor time that it may take
        clock_seconds: time on the clock
        memory_bytes: address space beyond what is mapped now

    Raises:
        ConfigProblem: what `read` raised; or it took too much.
        MachineProblem: the process cannot be started.
    """
    reader, writer = os.pipe2(os.O_CLOEXEC)
    try:
        process = os.fork()
    except OSError as error:
        os.close(reader)
        os.close(writer)
        raise MachineProblem(f"no process to read the text: {error.strerror}") from None
    if not process:
        _answer(writer, read, cpu_seconds, memory_bytes)
    os.close(writer)
    answer = b""
    try:
        end = time.monotonic() + clock_seconds
        while select.select([reader], [], [], max(end - time.monotonic(), 0.0))[0]:
            piece = os.read(reader, _MAX_ANSWER_BYTES)
            answer += piece
            if not piece or len(answer) > _MAX_ANSWER_BYTES:
                break
    finally:
        os.close(reader)
        os.kill(process, signal.SIGKILL)
        _, status = os.waitpid(process, 0)
    try:
        result = msgspec.json.decode(answer, type=_Answer)
    except UNREADABLE:
        how = process_limits.describe_exit(os.waitstatus_to_exitcode(status))
        raise ConfigProblem(f"it takes too long or too much memory to read ({how})", "make it simpler") from None
    if result.problem:
        raise ConfigProblem(result.problem, result.hint)
    return result.values


def _answer(writer: int, read: Callable[[], tuple[str, ...]], cpu_seconds: int, memory_bytes: int) -> None:
    """The forked process; it never returns."""
    code = 1
    try:
        _become_nobody()
        process_limits.limit_resources(cpu_seconds)
        process_limits.limit_memory(memory_bytes)
        process_limits.forbid_network_and_changes()
        try:
            answer = _Answer(values=read())
        except Problem as problem:
            answer = _Answer(problem=problem.message[:2000], hint=problem.hint[:1000])
        os.write(writer, msgspec.json.encode(answer))
        code = 0
    finally:
        os._exit(code)


def _become_nobody() -> None:
    if os.geteuid() == 0:
        user = pwd.getpwnam(_NOBODY)
        os.setgroups([])
        os.setresgid(user.pw_gid, user.pw_gid, user.pw_gid)
        os.setresuid(user.pw_uid, user.pw_uid, user.pw_uid)
    process_limits.give_up_root()
