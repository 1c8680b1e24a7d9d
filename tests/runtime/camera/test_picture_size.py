"""Pictures with too many pixels are refused by their header, and what crashes a decoder ends no daemon."""

from __future__ import annotations

import contextlib
import logging
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
from camera import Camera

from vedette.runtime.camera import image_files, sources
from vedette.runtime.camera.capture import DECODER_MEMORY, DECODER_MEMORY_PER_PIXEL
from vedette.runtime.camera.sources import SourceAddress
from vedette.runtime.camera.sources.capture_process import CaptureProcess
from vedette.runtime.camera.sources.decoding_process import DecodingError, DecodingProcess
from vedette.runtime.config.configuration import MAX_PIXELS
from vedette.runtime.errors import ConfigProblem

LARGE = np.zeros((600, 600, 3), np.uint8)  # more than the limit of 256 x 256 below
LIMIT = 256 * 256


def bomb(side):
    """A JPEG of some hundred bytes whose header claims side x side pixels."""
    content = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes()
    place = content.index(b"\xff\xc0") + 5
    return content[:place] + side.to_bytes(2, "big") * 2 + content[place + 4 :]


def flat(side):
    """A whole JPEG of side x side gray pixels, made without its pixels: each block is 6 bits, 001010."""
    content = cv2.imencode(".jpg", np.full((16, 16), 128, np.uint8))[1].tobytes()
    size, scan = content.index(b"\xff\xc0") + 5, content.index(b"\xff\xda") + 2
    scan += int.from_bytes(content[scan : scan + 2], "big")
    blocks = b"\x28\xa2\x8a" * ((side // 8 + 1) ** 2 // 4 + 1)
    return content[:size] + side.to_bytes(2, "big") * 2 + content[size + 4 : scan] + blocks + b"\xff\xd9"


def capture(picture, max_pixels):
    """What the capture process of a camera says at its end, and the most memory that it took, bytes."""
    camera = Camera(picture=lambda _: picture)
    spec = {"reader": "stream", "url": camera.url, "timeout": 5.0, "zones": [], "max_pixels": max_pixels}
    running = CaptureProcess((sys.executable, "-P"), spec)
    try:
        os.set_blocking(running.message_pipe, True)
        text = os.read(running.message_pipe, 1 << 16)
        os.kill(running.process.pid, signal.SIGKILL)  # Popen.kill would reap one that has ended
        _, _, usage = os.wait4(running.process.pid, 0)
        running.process.returncode = -signal.SIGKILL
    finally:
        running.close()
        camera.close()
    return text.decode(), usage.ru_maxrss << 10


def limits_of(pid):
    """The address space that a process may take, bytes, and the mode of its filter of system calls."""
    limits, status = (Path(f"/proc/{pid}/{name}").read_text() for name in ("limits", "status"))
    space = next(line.split()[3] for line in limits.splitlines() if line.startswith("Max address space"))
    return float("inf") if space == "unlimited" else int(space), int(status.partition("\nSeccomp:")[2].split()[0])


def peak_memory(pid):
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM:"))


@pytest.fixture
def parts(tmp_path):
    """A folder of images, of which two are readable."""
    folder = tmp_path / "parts"
    folder.mkdir()
    for number, value in enumerate((10, 200)):
        cv2.imwrite(str(folder / f"good{number}.png"), np.full((48, 64, 3), value, np.uint8))
    return folder


def read_all(address):
    return [frame for frame in sources.load_source(address).frames(threading.Event()) if frame is not None]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".jpg", ".tif", ".webp", ".ppm"])
def test_images_over_the_limit_are_left_out_of_a_recording(parts, suffix, caplog):
    cv2.imwrite(str(parts / f"large{suffix}"), LARGE)
    with caplog.at_level(logging.WARNING, "vedette"):
        frames = read_all(SourceAddress("door", "file:parts?fps=0", parts.parent, max_pixels=LIMIT))
    assert [int(frame.pixels[0, 0, 0]) for frame in frames] == [10, 200]
    assert f"large{suffix}" in caplog.text
    assert f"more than {LIMIT} pixels" in caplog.text


def test_videos_over_the_limit_are_refused(tmp_path, caplog):
    writer = cv2.VideoWriter(str(tmp_path / "large.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (600, 600))
    for _ in range(3):
        writer.write(LARGE)
    writer.release()
    assert len(read_all(SourceAddress("door", "file:large.avi?fps=0", tmp_path))) == 3
    with caplog.at_level(logging.WARNING, "vedette"), pytest.raises(Exception, match="no frame can be read"):
        read_all(SourceAddress("door", "file:large.avi?fps=0", tmp_path, max_pixels=LIMIT))
    assert "million pixels" in caplog.text


def test_a_bomb_fills_no_memory(parts):
    """691 bytes that claim 30,000 x 30,000 pixels took 5.4 GB."""
    (parts / "a-bomb.jpg").write_bytes(bomb(30_000))
    decoder = DecodingProcess(MAX_PIXELS, ())
    try:
        with pytest.raises(DecodingError, match="more than 16777216 pixels"):
            decoder.read_image(parts / "a-bomb.jpg")
        assert decoder.read_image(parts / "good1.png").shape == (48, 64, 3)
        assert peak_memory(decoder.process.pid) < 200 << 20
    finally:
        decoder.close()
    assert len(read_all(SourceAddress("door", "file:parts?fps=0", parts.parent))) == 2


def test_frames_are_those_of_the_files(tmp_path):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (90, 120, 3), dtype=np.uint8) for _ in range(4)]
    (tmp_path / "noise").mkdir()
    for number, image in enumerate(images):
        cv2.imwrite(str(tmp_path / "noise" / f"{number}.png"), image)
    frames = read_all(SourceAddress("door", "file:noise?fps=0", tmp_path))
    assert all(np.array_equal(frame.pixels, image) for frame, image in zip(frames, images, strict=True))
    assert not frames[0].pixels.flags.writeable


def test_a_decoder_that_dies_loses_one_picture(parts, caplog):
    """The process is killed between two pictures, and stopped during another."""
    source = sources.load_source(SourceAddress("door", "file:parts?fps=0&loop=true", parts.parent))
    stop, pids = threading.Event(), set()
    with caplog.at_level(logging.WARNING, "vedette"):
        for count, _ in enumerate(source.frames(stop)):
            children = Path(f"/proc/self/task/{threading.get_native_id()}/children").read_text().split()
            mine = [int(pid) for pid in children if b"decoding" in Path(f"/proc/{pid}/cmdline").read_bytes()]
            pids.update(mine)
            if count == 1:
                os.kill(mine[0], signal.SIGKILL)
            if count == 4:
                stop.set()
    assert len(pids) == 2
    assert "ended with SIGKILL" in caplog.text


def test_a_decoder_that_hangs_is_ended(parts, monkeypatch):
    monkeypatch.setattr("vedette.runtime.camera.sources.decoding_process.DECODING_SECONDS", 1.0)
    decoder = DecodingProcess(MAX_PIXELS, ())
    try:
        process = decoder._running_process()
        os.kill(process.pid, signal.SIGSTOP)
        with pytest.raises(DecodingError, match="took longer"):
            decoder.read_image(parts / "good0.png")
        assert process.poll() is not None
    finally:
        decoder.close()


def test_the_decoder_ends_with_its_source(parts):
    frames = sources.load_source(SourceAddress("door", "file:parts?fps=0&loop=true", parts.parent)).frames(
        threading.Event()
    )
    next(frames)
    task = Path(f"/proc/self/task/{threading.get_native_id()}/children")
    assert len(task.read_text().split()) >= 1
    before = set(task.read_text().split())
    frames.close()  # type: ignore[attr-defined]
    assert len(before - set(task.read_text().split())) == 1


def test_a_camera_s_giant_pictures_are_refused(wait_until):
    """16,000 x 16,000 pixels by HTTP took 3.6 GB in the daemon."""
    camera = Camera(picture=lambda _: cv2.imencode(".jpg", np.zeros((900, 900, 3), np.uint8))[1].tobytes())
    source = sources.load_source(SourceAddress("door", camera.url, Path("/"), max_pixels=LIMIT))
    stop, seen = threading.Event(), []
    thread = threading.Thread(target=lambda: seen.extend(frame for frame in source.frames(stop) if frame is not None))
    thread.start()
    try:
        wait_until(lambda: source.frame_counts.trouble, "the trouble")
        assert "max_pixels" in source.frame_counts.trouble
        assert not seen
    finally:
        stop.set()
        thread.join()
        camera.close()


def test_a_camera_s_giant_picture_takes_no_memory():
    """Its header is read, and no pixel of it: 8,000 x 8,000 pixels are 192 MB."""
    usual, usual_memory = capture(flat(160), MAX_PIXELS)
    assert '"shape": [160, 160, 3]' in usual
    told, memory = capture(flat(8000), MAX_PIXELS)
    assert "its frames have 64000000 pixels; max_pixels allows 16777216" in told
    assert memory < usual_memory + (32 << 20)


def test_processes_that_decode_have_limits(parts, wait_until):
    """No picture makes them larger than that, whatever its header says; and no recording writes or sends anything."""
    most = (1 << 30) + DECODER_MEMORY + DECODER_MEMORY_PER_PIXEL * LIMIT  # libraries, and what pictures may take
    decoder = DecodingProcess(LIMIT, ())
    camera = Camera()
    spec = {"reader": "stream", "url": camera.url, "timeout": 5.0, "zones": [], "max_pixels": 320 * 240}
    running = CaptureProcess((sys.executable, "-P"), spec)
    try:
        decoder.read_image(parts / "good0.png")
        space, mode = limits_of(decoder.process.pid)
        assert space < most
        assert mode == 2 or platform.machine() not in ("x86_64", "aarch64")
        wait_until(lambda: running.read_newest(0.1), "a frame")
        assert limits_of(running.process.pid)[0] < most
    finally:
        running.close()
        decoder.close()
        camera.close()


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ('{"slot": 0, "number": 0, "at": 1.0, "shape": [90000, 90000, 3]}', "max_pixels"),
        ('{"slot": 7, "number": 0, "at": 1.0, "shape": [9, 9, 3]}', "max_pixels"),
        ('{"slot": 0, "number": 0, "at": 1.0, "shape": [-9, -9, 3]}', "max_pixels"),
        ('{"slot": "x"}', "nonsense"),
        ('{"error": "\\xff"}', "nonsense"),
        ("[" * 60_000, "nonsense"),
    ],
)
def test_what_a_capture_process_claims_is_checked(line, told):
    """Whoever took it over may write anything to its pipe, and ends no daemon by it."""
    code = f"import json, os, sys; os.write(json.loads(sys.stdin.readline())['lines'], b'{line}' + bytes([10]))"
    running = CaptureProcess((sys.executable, "-S", "-c", code), {"max_pixels": LIMIT})
    try:
        end = time.monotonic() + 60
        while not running.exit_reason and time.monotonic() < end:
            assert running.read_newest(1.0) is None
        assert told in running.exit_reason
    finally:
        running.close()


def test_frames_larger_than_a_recording_claims_end_it(tmp_path, caplog):
    """The container says 64 x 64 pixels, its pictures have 600 x 600."""
    writer = cv2.VideoWriter(str(tmp_path / "large.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (600, 600))
    for _ in range(3):
        writer.write(LARGE)
    writer.release()
    path = tmp_path / "lies.avi"
    path.write_bytes((tmp_path / "large.avi").read_bytes().replace((600).to_bytes(4, "little"), b"\x40\0\0\0"))
    decoder = DecodingProcess(LIMIT, ())
    try:
        with contextlib.suppress(DecodingError):
            picture = decoder.open_video(path)
            assert picture is None or picture[0].size <= 3 * LIMIT
        assert decoder.process is not None
    finally:
        decoder.close()


def test_images_of_all_commands_have_a_limit(tmp_path):
    """12,000 x 12,000 pixels are below OpenCV's own limit; the command sets its own before it loads OpenCV."""
    path = tmp_path / "huge.jpg"
    path.write_bytes(bomb(12_000))
    code = "import sys; from pathlib import Path; from vedette.runtime.camera import image_files\n"
    code += "image_files.read_image(Path(sys.argv[1]))"
    done = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False)
    assert "more than 134217728 pixels" in done.stderr


def test_a_picture_over_opencv_s_limit_is_one_sentence(tmp_path):
    path = tmp_path / "huge.jpg"
    path.write_bytes(bomb(40_000))
    started = time.monotonic()
    with pytest.raises(ConfigProblem, match=r"huge\.jpg: cannot be read as an image"):
        image_files.read_image(path)
    assert time.monotonic() - started < 10


def test_the_rate_counts_from_the_first_picture(parts, monkeypatch):
    """The time that the decoding process needs to start is not made up by frames that come faster."""
    read = DecodingProcess.read_image

    def slow_start(self, path):
        if self.process is None:
            time.sleep(1.0)
        return read(self, path)

    monkeypatch.setattr(DecodingProcess, "read_image", slow_start)
    frames = sources.load_source(SourceAddress("door", "file:parts?fps=5&loop=true", parts.parent)).frames(
        threading.Event()
    )
    times = []
    for _ in range(4):
        next(frames)
        times.append(time.monotonic())
    frames.close()  # type: ignore[attr-defined]
    assert times[3] - times[0] > 0.5
