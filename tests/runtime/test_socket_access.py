"""Who may ask a daemon: its user, root, and a group; others are told that they may not."""

from __future__ import annotations

import grp
import os
import socket
import stat
import subprocess
import sys

import pytest

from vedette.runtime.commands import status as status_command
from vedette.runtime.socket_access import admit_group

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
NOBODY = 65534


@pytest.fixture
def folder(tmp_path):
    """The state folder of a camera, with a listening socket."""
    folder = tmp_path / "state" / "door"
    folder.mkdir(parents=True)
    for each in (folder, folder.parent):
        each.chmod(0o700)
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and each != each.parent:
            each.chmod(each.stat().st_mode | 0o011)
    (folder / "outbox.db").write_text("events")
    (folder / "outbox.db").chmod(0o600)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "status.sock"))
        listener.listen()
        yield folder


def ask_as(user, groups, folder):
    """What a process of that user gets: 'answered', or the name of an error."""
    code = (
        "import os, socket, sys\n"
        f"os.setgroups({groups!r}); os.setgid({NOBODY}); os.setuid({user})\n"
        "connection = socket.socket(socket.AF_UNIX)\n"
        "try:\n connection.connect(sys.argv[1] + '/status.sock'); print('answered')\n"
        "except OSError as error:\n print(type(error).__name__)\n"
        "try:\n print(open(sys.argv[1] + '/outbox.db').read())\n"
        "except OSError as error:\n print(type(error).__name__)\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@needs_root
def test_group_may_ask_and_nothing_more(folder):
    group = grp.getgrgid(os.getegid())
    assert ask_as(NOBODY, [group.gr_gid], folder) == ["PermissionError", "PermissionError"]
    admit_group(folder, folder / "status.sock", group.gr_name)
    assert ask_as(NOBODY, [group.gr_gid], folder) == ["answered", "PermissionError"]
    assert ask_as(NOBODY, [], folder) == ["PermissionError", "PermissionError"]


def test_missing_group_changes_nothing(folder):
    before = folder.stat().st_mode
    admit_group(folder, folder / "status.sock", "no-such-group")
    assert folder.stat().st_mode == before
    assert stat.S_IMODE(before) == 0o700


def test_denied_is_not_the_same_as_not_running(tmp_path, monkeypatch, capsys, call_vedette):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    (tmp_path / "cameras" / "door.toml").write_text("source='file:x'\nbundle='x'\n[[rules]]\nuse='presence'\n")
    done = call_vedette("status", "--config", tmp_path)
    assert (done.returncode, done.stdout) == (4, "door: not running\n")

    def deny(_folder):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(status_command, "request_status", deny)
    with pytest.raises(SystemExit) as caught:
        status_command.status.main(["--config", str(tmp_path)], standalone_mode=False)
    shown = capsys.readouterr().out
    assert caught.value.code == 4
    assert "not running" not in shown
    assert "group vedette" in shown
    with pytest.raises(SystemExit):
        status_command.status.main(["--config", str(tmp_path), "--json"], standalone_mode=False)
    assert '"denied"' in capsys.readouterr().out


@needs_root
def test_outbox_of_another_user_is_a_problem_with_a_remedy(tmp_path):
    """The whole command, as a user who may read the configuration and not the state."""
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    (tmp_path / "cameras" / "door.toml").write_text("source='file:x'\nbundle='x'\n[[rules]]\nuse='presence'\n")
    closed = tmp_path / "state" / "door"
    closed.mkdir(parents=True)
    (closed / "outbox.db").write_text("")
    for each in (tmp_path, *tmp_path.parents):
        if each.stat().st_uid == os.geteuid() and each != each.parent:
            each.chmod(each.stat().st_mode | 0o011)
    for each in (tmp_path, tmp_path / "cameras", *tmp_path.rglob("*.toml")):
        each.chmod(0o755)
    code = (
        "import os, sys, tomllib; from vedette.runtime import cli\n"
        "from vedette.runtime.commands import outbox, status\n"
        f"os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); cli.main(sys.argv[1:])"
    )
    for mode in (0o700, 0o755):
        closed.chmod(mode)
        (closed / "outbox.db").chmod(0o600)
        for verb in ("list", "dead", "export"):
            command = [sys.executable, "-c", code, "outbox", verb, "door", "--config", str(tmp_path)]
            done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
            assert done.returncode == 4, done.stderr
            assert "Traceback" not in done.stderr
            assert "outbox.db" in done.stderr
            assert "sudo" in done.stderr
    closed.chmod(0o700)
    command = [sys.executable, "-c", code, "status", "door", "--config", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.returncode == 4
    assert "may not ask" in done.stdout
