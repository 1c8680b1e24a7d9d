"""A file that a dying card damaged, or that somebody else wrote, is told in a sentence and stops nothing."""

from __future__ import annotations

import contextlib
import socket
import sqlite3
import threading

import msgspec
import pytest
from events import make_event

from vedette.runtime.config.configuration import load_config
from vedette.runtime.evaluation import h264_baseline
from vedette.runtime.events import outbox_salvage
from vedette.runtime.events.outbox import FILE_NAME, Outbox
from vedette.runtime.events.outbox_space import StoredRow, merge_tombstones
from vedette.runtime.monitoring import status

DAMAGED = {
    "no UTF-8": b'{"a": "\xff", "camera": "\xff", "format": "\xff"}',
    "list without UTF-8": b'[{"name": "\xff", "reason": ""}]',
    "nested": b'{"a":' + b"[" * 100_000,
    "nested list": b'[{"a":' + b"[" * 100_000,
    "other type": b'{"type": "SystemEvent"}',
    "empty": b"",
}


@pytest.fixture(params=DAMAGED)
def damaged(request):
    return DAMAGED[request.param]


def test_damaged_event_blocks_no_other_and_can_be_listed(tmp_path, damaged, call_vedette):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("[device]\nname = 'box'\nstate = 'state'\n")
    (tmp_path / "cameras" / "door.toml").write_text("source = 'file:x'\nbundle = 'x'\n[[rules]]\nuse = 'presence'\n")
    path = load_config(tmp_path, "door").state_folder / FILE_NAME
    outbox = Outbox(path, 1 << 20, volatile=True)
    outbox.put(*[make_event(number) for number in range(3)])
    outbox.close()
    database = sqlite3.connect(path)
    database.execute("UPDATE events SET body = ? WHERE sequence = 2", (damaged,))
    database.commit()
    database.close()
    before = call_vedette("outbox", "list", "door", "--config", tmp_path)
    assert before.returncode == 0, before.stderr
    assert "unreadable" in before.stdout
    outbox = Outbox(path, 1 << 20, volatile=True)
    assert [row.sequence for row in outbox.read_after(0, 9)] == [1, 3]
    outbox.close()
    for command in ("dead", "export"):
        done = call_vedette("outbox", command, "door", "--config", tmp_path)
        assert done.returncode == 0, done.stderr
    assert "event 2 is damaged" in done.stderr


def test_damaged_event_can_be_evicted(damaged):
    kind = msgspec.json.encode({"type": "SystemEvent"})
    assert merge_tombstones([StoredRow(4, damaged), StoredRow(5, kind)]) == {"first": 4, "last": 5, "count": 2}


def test_damaged_list_of_corrupt_files_keeps_no_outbox_from_opening(tmp_path, damaged):
    path = tmp_path / "outbox.db"
    outbox_salvage._list_path(path).write_bytes(damaged)
    outbox = Outbox(path, 1 << 20, volatile=True)
    outbox.put(make_event(1))
    assert outbox.count_pending() >= 1
    outbox.close()


@pytest.mark.parametrize("name", ["../outbox.db", "", "/etc/passwd"])
def test_list_of_corrupt_files_leads_to_no_other_folder(tmp_path, name):
    path = tmp_path / "outbox.db"
    outbox_salvage._list_path(path).write_bytes(msgspec.json.encode([{"name": name, "reason": ""}]))
    assert outbox_salvage._read_list(path) == []


def test_damaged_baseline_is_as_none(tmp_path, damaged):
    (tmp_path / h264_baseline._FILE_NAME).write_bytes(damaged)
    report = object()
    assert h264_baseline.with_h264_share(report, tmp_path) is report


@pytest.mark.parametrize("text", ["", "²  ³", "9" * 30 + " " + "9" * 30, "1 -4", "x y z"])
def test_damaged_facts_keep_no_outbox_from_opening(tmp_path, text):
    path = tmp_path / "outbox.db"
    outbox = Outbox(path, 1 << 20, volatile=True)
    outbox.put(make_event(1))
    outbox.acknowledge([1])
    outbox.database.execute("UPDATE facts SET value = ? WHERE name = 'replay'", (text,))
    outbox.close()
    outbox = Outbox(path, 1 << 20, volatile=True)
    assert outbox.read_replays(0, 9) == []
    assert outbox.count_replays() == 0
    outbox.close()


@pytest.mark.parametrize("answer", [b"", b"\xff", b'{"camera": "\xff"}', b"[" * 100_000, b" " * (3 << 20)])
def test_a_socket_that_answers_nonsense_is_no_daemon(tmp_path, answer):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / status.SOCKET_NAME))
    listener.listen()

    def serve():
        connection, _ = listener.accept()
        with connection, contextlib.suppress(OSError):
            connection.sendall(answer)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert status.request_status(tmp_path) is None
    thread.join(20)
    listener.close()
