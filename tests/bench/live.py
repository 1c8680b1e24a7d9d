"""What two viewers cost the daemon.

    make bench-live BENCH_ARGS="--rounds 20 --seconds 4"

The daemon of the demonstration runs on large pictures at the rate of a camera (--fps; 0: as fast as it can). In turn
nobody watches, and two processes read live frames; which comes first alternates from round to round. Told are the
frames in each period, the processor time of the daemon for each, what viewers cost as a share of a core, and what they
saw. A daemon that uses a whole core loses that share of its frames; one that has idle time loses none. Figures go to
build/live.json.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click
import cv2
import numpy as np

from vedette.runtime.live.frame_reader import LiveFrameReader
from vedette.runtime.monitoring.status import request_status

ROOT = Path(__file__).parents[2]
TICK = os.sysconf("SC_CLK_TCK")
CONFIG = """
[device]
name = "bench"
keys = "{keys}"
[outbox]
volatile = true
drain = 0.1
[broker]
url = "stdout:"
"""
CAMERA = """
source = "file:{pictures}?fps={fps}&loop=true"
bundle = "{bundle}"
[[rules]]
use = "presence"
threshold = 1e9
"""


def make_pictures(folder: Path, size: tuple[int, int]) -> Path:
    """Eight pictures of cells of the demonstration, as large as a camera's; BMP costs little to decode."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(8):
        small = rng.integers(0, 255, (size[1] // 8, size[0] // 8, 3), np.uint8)
        cv2.imwrite(str(folder / f"{number}.bmp"), cv2.resize(small, size))
    return folder


def watch(folder: Path, rate: float) -> None:
    """Reads live frames until stdin closes; prints how many, and their bytes."""
    frames = size = 0
    os.set_blocking(sys.stdin.fileno(), False)
    with LiveFrameReader(folder) as reader:
        while sys.stdin.buffer.raw.read(1) is None:
            began = time.monotonic()
            frame = reader.read()
            if frame is not None:
                if not frames:
                    click.echo("ready")
                frames, size = frames + 1, size + frame.pixels.nbytes
            time.sleep(max(0.0, 1 / rate - (time.monotonic() - began)))
    click.echo(f"{frames} {size}")


def processor_seconds(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICK


def measure(folder: Path, process: int, seconds: float, viewers: int, rate: float) -> dict[str, float]:
    """Frames a second, and milliseconds of the daemon's processor time for each, over one period."""
    command = [sys.executable, __file__, "--watch", str(folder), "--rate", str(rate)]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(viewers)
    ]
    for reader in readers:
        assert reader.stdout is not None
        reader.stdout.readline()  # its first frame
    time.sleep(1.0)
    before, used, began = request_status(folder), processor_seconds(process), time.monotonic()
    time.sleep(seconds)
    after, used, took = request_status(folder), processor_seconds(process) - used, time.monotonic() - began
    assert before is not None
    assert after is not None
    told = [reader.communicate()[0].split() for reader in readers]
    frames = after.frames - before.frames
    result = {"fps": frames / took, "cpu_ms": 1e3 * used / frames}
    if told:
        result["seen"] = statistics.mean(int(count) for count, _ in told) / (took + 1)
        result["bytes"] = int(told[0][1]) / max(1, int(told[0][0]))
    return result


@click.command()
@click.option("--bundle", type=click.Path(path_type=Path), default=ROOT / "build" / "demo" / "cells.vedette")
@click.option("--keys", type=click.Path(path_type=Path), default=ROOT / "build" / "demo" / "keys")
@click.option("--size", type=(int, int), default=(1280, 720), help="Width and height of the pictures.")
@click.option("--fps", default=15.0, help="Frames a second of the camera.")
@click.option("--rounds", default=20)
@click.option("--seconds", default=4.0)
@click.option("--viewers", default=2)
@click.option("--rate", default=10.0, help="Frames a second of each viewer.")
@click.option("--watch", "watched", type=click.Path(path_type=Path), hidden=True)
def main(
    bundle: Path,
    keys: Path,
    size: tuple[int, int],
    fps: float,
    rounds: int,
    seconds: float,
    viewers: int,
    rate: float,
    watched: Path | None,
) -> None:
    """Measure what viewers cost."""
    if watched is not None:
        watch(watched, rate)
        return
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "cameras").mkdir()
        (folder / "vedette.toml").write_text(CONFIG.format(keys=keys.resolve()))
        pictures = make_pictures(folder / "pictures", size)
        (folder / "cameras" / "door.toml").write_text(
            CAMERA.format(pictures=pictures, bundle=bundle.resolve(), fps=fps)
        )
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", "door", "--config", str(folder)]
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        state = folder / "state" / "door"
        try:
            while (report := request_status(state) if state.exists() else None) is None or report.frames < 50:
                if daemon.poll() is not None:
                    raise click.ClickException((folder / "log").read_text())
                time.sleep(0.2)
            periods: dict[int, list[dict[str, float]]] = {0: [], viewers: []}
            for number in range(rounds):
                for count in sorted(periods, reverse=bool(number % 2)):
                    periods[count].append(measure(state, daemon.pid, seconds, count, rate))
        finally:
            daemon.terminate()
            daemon.wait()
    tell(periods, viewers, size)


def tell(periods: dict[int, list[dict[str, float]]], viewers: int, size: tuple[int, int]) -> None:
    """Prints medians with quartiles of the differences between the two periods of each round."""
    without, watched = periods[0], periods[viewers]
    figures: dict[str, object] = {"size": size, "viewers": viewers, "rounds": len(without)}
    for key in ("fps", "cpu_ms"):
        median = [statistics.median(each[key] for each in side) for side in (without, watched)]
        changes = [100 * (b[key] / a[key] - 1) for a, b in zip(without, watched, strict=True)]
        low, middle, high = statistics.quantiles(changes, n=4)
        figures[key] = {"without": median[0], "with": median[1], "change_percent": [low, middle, high]}
        click.echo(f"{key:7} {median[0]:8.2f} -> {median[1]:8.2f}   {middle:+.2f} % ({low:+.2f} to {high:+.2f})")
    shares = [(b["cpu_ms"] - a["cpu_ms"]) * b["fps"] / 10 for a, b in zip(without, watched, strict=True)]
    low, middle, high = figures["core_percent"] = statistics.quantiles(shares, n=4)
    click.echo(f"viewers cost {middle:.2f} % of a core ({low:.2f} to {high:.2f})")
    for key in ("seen", "bytes"):
        figures[key] = statistics.median(each[key] for each in watched)
        click.echo(f"{key:7} {figures[key]:.1f}")
    out = ROOT / "build" / "live.json"
    out.parent.mkdir(exist_ok=True)
    out.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
