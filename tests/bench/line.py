"""From trigger to output: the real daemon, a simulated line controller over Modbus, and what stands in the way.

    make bench-line BENCH_ARGS="--parts 10000 --rate 20"

Each case triggers so many parts at a rate. `device` is from the trigger to the output inside the daemon, as the event
has it; `controller` is the same as the controller sees it, with two turns of its program. `inference` is the time of
the model in the daemon's loop. A part without an accepted, rejected or warning verdict is a miss, and counted. Cases:

    plain       the broker answers
    broker      no broker answers
    evidence    thumbnails and clips are written, and the status is asked for ten times a second
    page        the page runs at the priority of its unit, and two viewers look at the line
    disk        a second process writes and syncs to the same disk all the time
    busy        two more processes compute all the time, at the usual priority

With `+fifo` behind a case, as in `page+fifo`, the daemon has SCHED_FIFO, as docs/line.md sets it (needs root or
CAP_SYS_NICE); with `+core` it also has the last core alone, but for the kernel's own work. In these cases and in `busy`
the controller has a real-time priority, too, for it stands for another machine.

Figures go to build/line.json.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import click

from vedette.compress.demo.line_controller import LineController
from vedette.runtime.monitoring.status import request_status

ROOT = Path(__file__).parents[2]
CASES = ("plain", "broker", "evidence", "page", "disk")
"""By default; the others side by side: --cases busy,busy+fifo,busy."""
FIFO = ("chrt", "--fifo", "40")
BUSY = "while True: sum(range(100000))"
CONFIG = """
[device]
name = "bench"
keys = "{keys}"
[outbox]
drain = 0.2
journal = 20000
[broker]
url = "{broker}"
[page]
listen = "127.0.0.1:{page}"
"""
VIEWERS = Path(__file__).with_name("line_viewers.py")
CAMERA = """
source = "file:{pictures}?fps=0&loop=true"
bundle = "{bundle}"
[trigger]
source = "modbus://127.0.0.1:{port}"
deadline = {deadline}
acknowledge = true
depth = 16
{evidence}
"""
EVIDENCE = '[evidence]\nthumbnail = "jpeg"\n[[rules]]\nuse = "presence"\n'
WRITER = """
import os, sys
with open(sys.argv[1], "wb") as file:
    while True:
        file.seek(0)
        file.write(os.urandom(4 << 20))
        file.flush()
        os.fsync(file.fileno())
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def share(values: list[float], part: float) -> float:
    """A quantile: the smallest value that so large a part of all does not exceed."""
    ordered = sorted(values)
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))], 2)


def describe(values: list[float]) -> dict[str, float]:
    names = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
    return {name: share(values, part) for name, part in names.items()} if values else {}


def read_verdicts(outbox: Path) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(outbox)) as database:
        rows = database.execute("SELECT body FROM events ORDER BY sequence").fetchall()
    records = [json.loads(body) for (body,) in rows]
    return [record["facts"] for record in records if (record["rule"], record["kind"]) == ("part", "verdict")]


def ask_status(folder: Path, stop: threading.Event, often: bool, found: list[float]) -> None:
    """Collects the share of the time spent in inference, which gives the time of one."""
    while not stop.wait(0.1 if often else 2.0):
        with suppress(Exception):
            found.append(float(request_status(folder).duty or 0.0))


def open_page(folder: Path) -> subprocess.Popen[str]:
    """The page with two viewers, at the priority of its unit."""
    command = ["nice", "-n", "10", sys.executable, str(VIEWERS), str(folder), "line"]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def close_page(page: subprocess.Popen[str]) -> float:
    """Ends the page; returns the pictures a second that its viewers got."""
    page.terminate()
    return float(page.communicate(timeout=60)[0])


def start_others(case: str, folder: Path, cores: list[int]) -> list[subprocess.Popen[bytes]]:
    """The processes that stand in the way: one that writes, or two that compute, on these cores."""
    commands = {"disk": [[WRITER, str(folder / "noise")]], "busy": [[BUSY], [BUSY]]}.get(case, [])
    pinned = ["taskset", "--cpu-list", ",".join(map(str, cores)), sys.executable, "-c"]
    return [subprocess.Popen([*pinned, *command]) for command in commands]


def measure(row: str, demo: Path, parts: int, rate: float, deadline: float) -> dict[str, Any]:
    """One case, in a folder of its own."""
    case, _, priority = row.partition("+")
    with tempfile.TemporaryDirectory(dir=ROOT / "build") as temporary:
        folder, port = Path(temporary), free_port()
        (folder / "cameras").mkdir()
        broker = "mqtt://127.0.0.1:1" if case == "broker" else "stdout:"
        (folder / "vedette.toml").write_text(CONFIG.format(keys=demo / "keys", broker=broker, page=free_port()))
        facts = {"bundle": next(demo.glob("*.vedette")), "pictures": demo / "camera", "deadline": deadline}
        evidence = EVIDENCE if case == "evidence" else ""
        (folder / "cameras" / "line.toml").write_text(CAMERA.format(**facts, port=port, evidence=evidence))
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", "line", "--config", str(folder)]
        cores = sorted(os.sched_getaffinity(0))
        if priority:
            command = [*FIFO, *command]
        if priority == "core":
            command = ["taskset", "--cpu-list", str(cores.pop()), *command]
        with (folder / "log").open("wb") as log:
            daemon = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=log)
        others = start_others(case, folder, cores)
        page = open_page(folder) if case == "page" else None
        stop, duties = threading.Event(), []  # type: ignore[var-annotated]
        state = folder / "state" / "line"
        asker = threading.Thread(target=ask_status, args=(state, stop, case == "evidence", duties))
        asker.start()
        controller = LineController(port, [1 + number / rate for number in range(parts)])
        if priority or case == "busy":  # a real controller is another machine
            os.sched_setscheduler(0, os.SCHED_FIFO | os.SCHED_RESET_ON_FORK, os.sched_param(50))
        controller.run(patience=deadline + 10)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        stop.set()
        asker.join()
        viewed = None if page is None else close_page(page)
        for each in others:
            each.kill()
            each.wait()
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
        if controller.failure:
            raise SystemExit(f"{controller.failure}\n{(folder / 'log').read_text()[-3000:]}")
        verdicts = read_verdicts(state / "outbox.db")
    shown = {result.part: result for result in controller.results}
    waits = [1000 * (shown[part].seconds - at) for part, at in enumerate(controller.triggered, 1) if part in shown]
    reasons: dict[str, int] = {}
    for each in verdicts:
        if each["verdict"] == "error":
            reasons[each["reason"]] = reasons.get(each["reason"], 0) + 1
    orders = [result.part for result in controller.results]
    return {
        "case": row,
        "triggered": len(controller.triggered),
        "verdicts": len(verdicts),
        "results": len(orders),
        "in_order": orders == sorted(set(orders)),
        "differing": sum(shown[int(v["part"])].verdict != v["verdict"] for v in verdicts if int(v["part"]) in shown),
        "errors": reasons,
        "device_ms": describe([each["latency_ms"] for each in verdicts]),
        "controller_ms": describe(waits),
        "pictures_per_second": viewed,
        "inference_ms": round(1000 * statistics.median(duties) / rate, 2) if duties else None,
    }


@click.command()
@click.option("--demo", type=click.Path(path_type=Path, exists=True), default=ROOT / "build" / "demo")
@click.option("--parts", default=10_000, show_default=True, help="Parts of each case.")
@click.option("--rate", default=20.0, show_default=True, help="Parts per second.")
@click.option("--deadline", default=1.0, show_default=True, help="Seconds from trigger to verdict.")
@click.option("--cases", default=",".join(CASES), show_default=True)
def main(demo: Path, parts: int, rate: float, deadline: float, cases: str) -> None:
    """Measures from trigger to output."""
    (ROOT / "build").mkdir(exist_ok=True)
    rows = []
    for case in cases.split(","):
        started = time.monotonic()
        rows.append(measure(case, demo.resolve(), parts, rate, deadline))
        load = os.getloadavg()[0]
        print(json.dumps(rows[-1] | {"load": load, "seconds": round(time.monotonic() - started)}), flush=True)  # noqa: T201
    (ROOT / "build" / "line.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
