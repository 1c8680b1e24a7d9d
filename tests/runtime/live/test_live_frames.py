"""Live frames: whole, only for those who ask, and independent of who dies."""

from __future__ import annotations

import contextlib
import os
import signal
import stat
import time

import live_process
import numpy as np
import pytest
from waiting import wait_for

from vedette.runtime.inference.prediction import Box, Prediction
from vedette.runtime.live import frame_writer
from vedette.runtime.live.frame_reader import LiveFrameReader
from vedette.runtime.live.frame_writer import MAX_READERS, LiveFrameWriter
from vedette.runtime.live.live_frame import MAX_MESSAGE, SOCKET_NAME, FrameDetails

PIXELS = np.zeros((240, 320, 3), np.uint8)


@pytest.fixture
def writer(tmp_path):
    writer = LiveFrameWriter(tmp_path)
    yield writer
    writer.close()


@pytest.fixture
def processes():
    started = []
    yield started
    for process in started:
        process.kill()
        with contextlib.suppress(ChildProcessError):
            process.wait()
        process.stdout.close()


def offer(writer, number=0, pixels=PIXELS, heat_map=None, **fields):
    """Does what the daemon does with a frame; returns whether somebody wanted it."""
    if not writer.is_wanted():
        return False
    made = FrameDetails(
        **{"predictions": (), "score": 0.5, "moment": 1.0, "taken": 2.0, **fields}, **OTHER, number=number
    )
    writer.write(made, pixels, heat_map)
    return True


OTHER = {"threshold": 1.0, "model": "weave:1:ab"}


def ask(reader):
    """Asks for the next frame without waiting for it."""
    assert reader.read(0) is None


def test_hammering_writer_and_several_readers_never_give_half_a_frame(tmp_path, processes):
    """The writer writes without a pause; three readers read at different paces, one of them in another process."""
    processes += [live_process.start("write", tmp_path), live_process.start("read", tmp_path)]
    processes[0].stdout.readline()
    fast, slow = LiveFrameReader(tmp_path), LiveFrameReader(tmp_path)
    numbers = []
    for count in range(600):
        frame = fast.read(60)
        assert live_process.is_whole(frame)
        numbers.append(frame.number)
        if count % 7 == 0:
            assert live_process.is_whole(slow.read(60))
    assert numbers == sorted(set(numbers)), "newer frames only"
    assert {processes[1].stdout.readline() for _ in range(100)} == {"whole\n"}
    fast.close()
    slow.close()


def test_reader_outlives_the_daemon_and_finds_the_next_one(tmp_path, processes):
    reader = LiveFrameReader(tmp_path)
    assert reader.read(0) is None, "no daemon yet"
    for _ in range(2):
        processes.append(live_process.start("write", tmp_path))
        processes[-1].stdout.readline()
        assert live_process.is_whole(reader.read(60))
        processes[-1].send_signal(signal.SIGKILL)
        processes[-1].wait()
        wait_for(lambda: reader.read(0.1) is None and not reader.is_connected, "the end of the connection")
    reader.close()


def test_killed_and_stopped_readers_cost_nothing(tmp_path, writer, processes):
    """A killed reader is forgotten; one that stands still gets one frame at most."""
    for sent in (signal.SIGKILL, signal.SIGSTOP):
        processes.append(live_process.start("read", tmp_path))
        wait_for(lambda: offer(writer), "the reader's first request")
        wait_for(lambda: offer(writer), "the reader's second request")
        processes[-1].send_signal(sent)
        os.waitpid(processes[-1].pid, os.WUNTRACED)
        offer(writer)
        copied = writer.copied
        assert [offer(writer) for _ in range(100)] == [False] * 100
        assert writer.copied == copied
        assert len(writer.readers) == (0 if sent == signal.SIGKILL else 1)
        assert (writer.memory is None) == (sent == signal.SIGKILL)


def test_nothing_is_copied_without_a_request_and_once_for_all_who_ask(tmp_path, writer):
    readers = [LiveFrameReader(tmp_path) for _ in range(3)]
    assert not offer(writer)
    assert (writer.copied, writer.memory) == (0, None)
    for reader in readers:
        ask(reader)
    assert offer(writer, 7)
    assert not offer(writer, 8)
    assert writer.copied == PIXELS.nbytes
    assert [reader.read().number for reader in readers] == [7, 7, 7]
    ask(readers[0])
    assert offer(writer, 9)
    assert readers[0].read().number == 9
    copied = writer.copied
    ask(readers[1])
    assert not offer(writer, 10), "what was copied just now serves it, too"
    assert (readers[1].read().number, writer.copied) == (9, copied)
    ask(readers[1])
    assert offer(writer, 11), "but not twice"
    for reader in readers:
        reader.close()
    assert not offer(writer)
    assert writer.memory is None


def test_a_reader_keeps_its_frame_until_it_asks_again(tmp_path, writer, monkeypatch):
    """It may take as long as it likes: the daemon does not write to its slot meanwhile."""
    monkeypatch.setattr(frame_writer, "SHARED_SECONDS", 0.0)
    slow, fast = LiveFrameReader(tmp_path), LiveFrameReader(tmp_path)
    ask(slow)
    offer(writer, 1, np.full_like(PIXELS, 1))
    for number in range(2, 30):
        ask(fast)
        assert offer(writer, number, np.full_like(PIXELS, number))
        assert (fast.read().pixels == number).all()
    assert (slow.read().pixels == 1).all()


def test_frame_has_everything_and_the_picture_is_red_green_blue(tmp_path, writer):
    pixels = np.zeros((720, 1280, 3), np.uint8)
    pixels[..., 0] = 200  # blue
    seen = (Prediction("person", 0.9, Box(0.1, 0.2, 0.3, 0.4), 5),)
    heat_map = np.array([[0.5, np.nan, 2.0]], np.float32)
    with LiveFrameReader(tmp_path) as reader:
        ask(reader)
        offer(writer, 3, pixels, heat_map, predictions=seen, score=0.9)
        frame = reader.read()
    assert frame.pixels.shape == (360, 640, 3)
    assert (frame.pixels == [0, 0, 200]).all()
    np.testing.assert_array_equal(frame.heat_map, heat_map)
    assert (frame.predictions, frame.number, frame.score, frame.threshold, frame.model) == (
        seen,
        3,
        0.9,
        *OTHER.values(),
    )


def test_frames_may_change_their_size(tmp_path, writer):
    with LiveFrameReader(tmp_path) as reader:
        for side in (64, 400, 1000, 30):
            ask(reader)
            offer(writer, side, np.full((side, side, 3), side % 251, np.uint8))
            frame = reader.read()
            assert frame.pixels.shape[:2] == (min(side, 640),) * 2
            assert (frame.pixels == side % 251).all()


def test_too_many_predictions_lose_the_lowest_scores(tmp_path, writer):
    many = tuple(Prediction("person", number / 5000, Box(0.1, 0.2, 0.3, 0.4)) for number in range(5000))
    with LiveFrameReader(tmp_path) as reader:
        ask(reader)
        offer(writer, predictions=many)
        kept = reader.read().predictions
    assert 100 < len(kept) < 5000
    assert min(each.score for each in kept) >= many[-len(kept)].score
    assert MAX_MESSAGE < 212_992, "what the kernel lets through by default"


def test_only_so_many_readers(tmp_path, writer):
    readers = [LiveFrameReader(tmp_path) for _ in range(MAX_READERS + 1)]
    for reader in readers:
        reader.read(0)
        writer.is_wanted()
    offer(writer)
    assert [reader.read(0) is not None for reader in readers] == [True] * MAX_READERS + [False]


def test_socket_and_memory_are_private(tmp_path, writer):
    assert stat.S_IMODE((tmp_path / SOCKET_NAME).stat().st_mode) == 0o600
    with LiveFrameReader(tmp_path) as reader:
        ask(reader)
        offer(writer)
        assert reader.read() is not None
        descriptor = writer.memory.descriptor
        with pytest.raises(PermissionError):
            os.ftruncate(descriptor, 0)
        with pytest.raises(PermissionError):
            os.pwrite(descriptor, b"x", 0)
        with pytest.raises(TypeError):
            reader.memory[0] = 1


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_other_users_are_refused_even_where_the_socket_is_open_to_them(tmp_path, writer):
    (tmp_path / SOCKET_NAME).chmod(0o666)
    for folder in (tmp_path, *tmp_path.parents[:-2]):
        folder.chmod(0o755)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.setuid(65534)
            reader = LiveFrameReader(tmp_path)
            reader.read(0)
            code = 0 if reader.is_connected and reader.read(60) is None and not reader.is_connected else 2
        finally:
            os._exit(code)
    deadline = time.monotonic() + 60
    ended = (0, 0)
    while ended[0] == 0 and time.monotonic() < deadline:
        assert not offer(writer)
        ended = os.waitpid(child, os.WNOHANG)
        time.sleep(0.01)
    assert os.waitstatus_to_exitcode(ended[1]) == 0


def test_a_folder_that_is_not_there_costs_live_frames_only(tmp_path, caplog):
    writer = LiveFrameWriter(tmp_path / "missing")
    assert "nobody can watch this camera live" in caplog.text
    assert not writer.is_wanted()
    writer.close()
    assert LiveFrameReader(tmp_path / "missing").read() is None
