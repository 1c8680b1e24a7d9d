"""A card as `make card` makes it, as a machine: systemd-nspawn boots it, on a copy-on-write view of the image.

The machine is this one's kernel with a Debian of its own. Its power can be cut: all its processes end at once, and what
they had written stays; a disk that loses what it has not synced is not simulated.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from mosquitto import BINARY
from paths import ROOT
from waiting import patience, wait_for

CARD = Path(os.environ.get("CARD", ROOT / "build" / "card" / "vedette-amd64.img"))
ROOT_OFFSET = 513 << 20
NEEDED = ("systemd-nspawn", "mcopy", "mount", "nsenter", "unshare")
MARKS = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
    pytest.mark.skipif(any(shutil.which(each) is None for each in NEEDED), reason=f"needs {', '.join(NEEDED)}"),
    pytest.mark.skipif(BINARY is None, reason="needs mosquitto: apt-get install mosquitto"),
    pytest.mark.skipif(not CARD.exists(), reason="needs a card: make deb card"),
]
"""For the tests that boot one."""
_ENVIRONMENT = ("env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL=C.UTF-8", "TERM=dumb")
_PROMPT = re.compile(r"(?:^|[\r\n])([^\r\n]*): $")


@contextlib.contextmanager
def mounted_card(folder: Path, card: Path = CARD) -> Iterator[Path]:
    """A card's root file system; what is written to it is lost."""
    lower, upper, work, merged = (folder / name for name in ("lower", "upper", "work", "merged"))
    for each in (lower, upper, work, merged):
        each.mkdir()
    loop = ["mount", "-o", f"loop,ro,noload,offset={ROOT_OFFSET}", str(card), str(lower)]
    if subprocess.run(loop, check=False, capture_output=True).returncode:
        pytest.skip("this machine has no loop devices")
    try:
        layers = f"lowerdir={lower},upperdir={upper},workdir={work}"
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", layers, str(merged)], check=True)
        yield merged
    finally:
        for each in (merged, lower):
            subprocess.run(["umount", "-l", str(each)], check=False)


class Machine:
    """A machine with a card in it.

    Args:
        root: the card's root file system
        log: takes what it prints while it boots
        options: of systemd-nspawn; without any it shares this machine's network
    """

    def __init__(self, root: Path, log: Path, *options: str) -> None:
        self.root, self.log, self.options = root, log, options
        self.process: subprocess.Popen[bytes] | None = None

    def switch_on(self) -> None:
        command = ["systemd-nspawn", "-q", "-D", str(self.root), "--register=no", "--keep-unit", *self.options, "-b"]
        with self.log.open("ab") as file:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    def switch_off(self) -> None:
        """Tells its systemd to power off; nspawn itself would leave it running if it were killed."""
        if self.process is None or self.process.poll() is not None:
            return
        for leader in self._leaders():
            os.kill(leader, signal.SIGRTMIN + 4)  # systemd(1): poweroff.target
        try:
            self.process.wait(60 * patience())
        except subprocess.TimeoutExpired:
            self.cut_power()

    def cut_power(self) -> None:
        """Ends all its processes at once."""
        assert self.process is not None
        if self.process.poll() is not None:
            return
        for leader in self._leaders():
            os.kill(leader, signal.SIGKILL)
        try:
            self.process.wait(30 * patience())
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def wait_until_up(self) -> None:
        up = ("running", "degraded")
        wait_for(lambda: self._try("systemctl is-system-running").strip() in up, f"the boot: {self.log}", 120)

    def run(self, script: str, user: str = "root") -> str:
        """What a shell command prints on it; fails if the command does."""
        done = self.start(script, user)
        output = done.communicate(timeout=600 * patience())[0].decode(errors="replace")
        assert done.returncode == 0, f"{script}: {output}"
        return output

    def run_on_terminal(self, command: str, user: str, answers: Mapping[str, str]) -> str:
        """Runs a command that asks; `answers` by the beginning of a question, and Enter to all others."""
        process = self.start(f"exec script -qec {_quote(command)} /dev/null", user, stdin=subprocess.PIPE)
        assert process.stdin is not None
        assert process.stdout is not None
        os.set_blocking(process.stdout.fileno(), False)
        printed, answered, end = "", 0, time.monotonic() + 300 * patience()
        while process.poll() is None:
            assert time.monotonic() < end, printed
            printed += (process.stdout.read() or b"").decode(errors="replace")
            question = _PROMPT.search(printed, answered)
            if question:
                text = next((answer for begin, answer in answers.items() if question[1].startswith(begin)), "")
                answered = len(printed)
                process.stdin.write(f"{text}\n".encode())
                process.stdin.flush()
            time.sleep(0.05)
        printed += (process.stdout.read() or b"").decode(errors="replace")
        assert process.returncode == 0, printed
        return printed

    def start(self, script: str, user: str = "root", stdin: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
        """Starts a shell command on it."""
        (leader,) = self._leaders()
        enter = ["nsenter", "--target", str(leader), "--mount", "--uts", "--ipc", "--net", "--pid", *_ENVIRONMENT]
        shell = ["runuser", "--login", user, "-c", script]
        return subprocess.Popen([*enter, *shell], stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def _try(self, script: str) -> str:
        """What a command prints, whether it works or not: the machine may not be there yet."""
        if len(self._leaders()) != 1:
            return ""
        return self.start(script).communicate(timeout=60 * patience())[0].decode()

    def _leaders(self) -> list[int]:
        assert self.process is not None
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(each) for each in path.read_text().split()] if path.exists() else []


def _quote(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"
