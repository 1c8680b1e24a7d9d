"""What the daemon costs beside the inference that it is there for.

    make bench-runtime BENCH_ARGS="--seconds 10 --rounds 5"

A camera sends pictures of 640 x 480 over HTTP. In turn, a daemon watches it, and a bare loop reads the same camera,
preprocesses and infers, and does nothing else; what both take of the processor is set against the frames that they saw.
Then every other picture shows a defect, so that each frame brings an event, and a subscriber at a real broker sets when
it comes against when the picture was taken. At last four daemons watch four cameras. Figures go to build/runtime.json.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import click
import cv2
from paho.mqtt.client import CallbackAPIVersion, Client
from paho.mqtt.enums import MQTTProtocolVersion

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests" / "support"))
from mosquitto import Mosquitto  # noqa: E402

TICK = os.sysconf("SC_CLK_TCK")

CAMERA = """
import sys, time
sys.path.insert(0, sys.argv[1])
import cv2
from camera import Camera, jpeg
pictures = [jpeg(cv2.resize(cv2.imread(path), (640, 480))) for path in sys.argv[3:]]
camera = Camera(lambda number: pictures[number % len(pictures)], fps=float(sys.argv[2]))
print(camera.url, flush=True)
sys.stdin.read()
"""
BARE = """
import sys, time
from pathlib import Path
import cv2
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.inference.golden_outputs import select_backend
from vedette.runtime.inference.preprocess import Preprocess
bundle = Bundle.open(Path(sys.argv[2]), Keyring.read(Path(sys.argv[3])))
backend, preprocess = select_backend(bundle, "onnx", 1), Preprocess(bundle.manifest.input)
capture = cv2.VideoCapture(sys.argv[1], cv2.CAP_FFMPEG)
count, took = 0, 0.0
while True:
    ok, pixels = capture.read()
    began = time.perf_counter()
    backend.run(preprocess(pixels))
    took += time.perf_counter() - began
    count += 1
    if count % 10 == 0:
        print(count, took / count, flush=True)
"""


class Bare:
    """The loop, in a process of its own."""

    def __init__(self, url: str, bundle: Path, keys: Path) -> None:
        command = [sys.executable, "-c", BARE, url, str(bundle), str(keys)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.said = (0, 0.0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            count, seconds = line.split()
            self.said = (int(count), float(seconds))

    def frames(self) -> int:
        return self.said[0]


class Watch:
    """A daemon for one camera."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder, self.name = folder, name
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", name, "--config", str(folder)]
        self.process = subprocess.Popen(command, stderr=(folder / f"{name}.log").open("wb"))

    def report(self) -> dict[str, Any]:
        command = [
            sys.executable,
            "-m",
            "vedette.runtime.cli",
            "status",
            self.name,
            "--json",
            "--config",
            str(self.folder),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return dict(json.loads(done.stdout)[0]) if done.returncode == 0 else {"frames": 0}

    def frames(self) -> int:
        return int(self.report()["frames"])


def camera(fps: float, pictures: list[Path]) -> tuple[subprocess.Popen[str], str]:
    command = [sys.executable, "-c", CAMERA, str(ROOT / "tests" / "support"), str(fps), *map(str, pictures)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline().strip()


def family(pid: int) -> dict[str, list[int]]:
    children = [
        int(each) for task in Path(f"/proc/{pid}/task").iterdir() for each in (task / "children").read_text().split()
    ]
    return {"daemon": [pid], "reader": children}


def used(pids: list[int]) -> float:
    """Processor seconds so far."""
    fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(each[11]) + int(each[12]) for each in fields) / TICK


def resident(pids: list[int]) -> float:
    """What they hold in memory, 10**6 bytes; what two share counts twice."""
    lines = [line.split() for pid in pids for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()]
    return sum(int(line[1]) for line in lines if line[0] == "Rss:") * 1024 / 1e6


def steady(watched: Bare | Watch, least: int = 30) -> None:
    until = time.monotonic() + 60
    while watched.frames() < least:
        if time.monotonic() > until or watched.process.poll() is not None:
            raise click.ClickException("no frames come")
        time.sleep(0.2)


def cost(watched: Bare | Watch, seconds: float) -> dict[str, float]:
    """Processor milliseconds a frame, of the process and of its children."""
    steady(watched)
    pids = family(watched.process.pid)
    before, first = {name: used(each) for name, each in pids.items()}, watched.frames()
    time.sleep(seconds)
    frames = watched.frames() - first
    found = {name: 1e3 * (used(each) - before[name]) / frames for name, each in pids.items()}
    return found | {
        "all": sum(found.values()),
        "frames": frames,
        "rss": resident(pids["daemon"]),
        "rss_reader": resident(pids["reader"]),
    }


def start_up(folder: Path, picture: Path, bundle: Path, keys: Path, rounds: int) -> dict[str, float]:
    """Processor seconds from nothing to the end of one picture, and those of the imports alone."""
    configure(folder, f"file:{picture}?fps=0", 1, bundle, keys, "short")
    toml = folder / "vedette.toml"
    toml.write_text(toml.read_text().replace("mqtt://127.0.0.1:1", "stdout:"))
    run = [sys.executable, "-m", "vedette.runtime.cli", "run", "short", "--config", str(folder)]
    imports = [sys.executable, "-c", "import vedette.runtime.daemon"]
    found = {}
    for name, command in (("start_up_s", run), ("imports_s", imports)):
        took = []
        for _ in range(rounds):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            took.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        found[name] = statistics.median(took)
    return found


def end(*processes: subprocess.Popen[Any]) -> None:
    for process in processes:
        process.send_signal(signal.SIGTERM)
    for process in processes:
        process.wait(30)


def configure(folder: Path, url: str, port: int, bundle: Path, keys: Path, name: str, rule: str = "") -> None:
    (folder / "cameras").mkdir(exist_ok=True)
    broker = f'[broker]\nurl = "mqtt://127.0.0.1:{port}"\n'
    (folder / "vedette.toml").write_text(
        f'[device]\nname = "box"\nkeys = "{keys}"\n{broker}[outbox]\nvolatile = true\n'
    )
    (folder / "cameras" / f"{name}.toml").write_text(
        f'source = "{url}"\nbundle = "{bundle}"\nbackend = "onnx"\n[[rules]]\nuse = "presence"\n{rule}\n'
    )


def delays(port: int, seconds: float) -> list[float]:
    """Milliseconds from the picture to the event at a subscriber."""
    found: list[float] = []
    client = Client(CallbackAPIVersion.VERSION2, "bench", protocol=MQTTProtocolVersion.MQTTv5)

    def came(_client: Client, _data: object, message: Any) -> None:
        now, event = time.time(), json.loads(message.payload)
        if event["type"] == "vedette.presence.new":
            found.append(1e3 * (now - _seconds(event["time"])))

    client.on_message = came
    client.connect("127.0.0.1", port)
    client.subscribe("vedette/v1/+/+/+/+/evt/#", qos=1)
    client.loop_start()
    time.sleep(seconds)
    client.disconnect()
    client.loop_stop()
    return found


def _seconds(text: str) -> float:
    from datetime import datetime

    return datetime.fromisoformat(text).timestamp()


@click.command()
@click.option("--bundle", type=Path, default=ROOT / "build/demo/cells.vedette", show_default=True)
@click.option("--keys", type=Path, default=ROOT / "build/demo/keys", show_default=True)
@click.option("--seconds", default=10.0, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def bench(bundle: Path, keys: Path, seconds: float, rounds: int) -> None:
    """Measure what the daemon costs beside its inference."""
    cv2.setNumThreads(1)
    good, defects = (sorted((bundle.parent / kind).glob("*"))[:4] for kind in ("good", "defect"))
    found: dict[str, Any] = {"machine": os.uname().machine, "cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        broker = Mosquitto(folder / "broker")
        broker.start()
        found |= start_up(folder, good[0], bundle, keys, rounds)
        source, url = camera(30, good)
        configure(folder, url, broker.port, bundle, keys, "one", "threshold = 1e9")
        rows: dict[str, list[dict[str, float]]] = {"bare": [], "daemon": []}
        for _ in range(rounds):
            bare = Bare(url, bundle, keys)
            rows["bare"].append(cost(bare, seconds))
            inference = 1e3 * bare.said[1]
            end(bare.process)
            watch = Watch(folder, "one")
            rows["daemon"].append(cost(watch, seconds))
            end(watch.process)
        ratios = [one["all"] / other["all"] for one, other in zip(rows["daemon"], rows["bare"], strict=True)]
        found |= {"rows": rows, "overhead": statistics.median(ratios) - 1, "overheads": [each - 1 for each in ratios]}
        found["rss_mb"] = max(each["rss"] for each in rows["daemon"])
        end(source)

        source, url = camera(30, [each for pair in zip(good, defects, strict=True) for each in pair])
        configure(folder, url, broker.port, bundle, keys, "one", "hysteresis = 0.0")
        watch = Watch(folder, "one")
        steady(watch)
        came = sorted(each - inference for each in delays(broker.port, 3 * seconds))
        found |= {"events": len(came), "inference_ms": inference}
        found |= {f"beyond_ms_p{share}": came[min(len(came) * share // 100, len(came) - 1)] for share in (50, 95, 99)}
        end(watch.process, source)

        each_of = {}
        for count in (1, 4):
            sources = [camera(5, good) for _ in range(count)]
            for number, (_, url) in enumerate(sources):
                configure(folder, url, broker.port, bundle, keys, f"c{number}", "threshold = 1e9")
            watches = [Watch(folder, f"c{number}") for number in range(count)]
            costs: list[dict[str, float]] = [{} for _ in watches]

            def take(number: int, watch: Watch, costs: list[dict[str, float]] = costs) -> None:
                costs[number] = cost(watch, 3 * seconds)

            threads = [threading.Thread(target=take, args=pair) for pair in enumerate(watches)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            each_of[count] = statistics.mean(each["all"] for each in costs)
            end(*(watch.process for watch in watches), *(process for process, _ in sources))
        found |= {"ms_a_frame_by_cameras": each_of, "four_to_one": each_of[4] / each_of[1]}
        broker.kill()
    (ROOT / "build").mkdir(exist_ok=True)
    (ROOT / "build" / "runtime.json").write_text(json.dumps(found, indent=2))
    found.pop("rows")
    click.echo(json.dumps(found, indent=2))


if __name__ == "__main__":
    bench()
