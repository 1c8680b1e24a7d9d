"""A release that hangs is left by itself: systemd's watchdog ends its daemon, whose starts are counted.

The hang is in the frame loop of release 2 alone, while the other threads live on, as with a library that never returns.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from altered_bundles import sign_altered
from copied_machine import MARKS, boot, copied_machine, wait_for_report

from vedette.runtime.installation.probation_record import MAX_STARTS

pytestmark = MARKS

WATCHDOG_SECONDS = 6
DROP_IN = f"[Service]\nWatchdogSec={WATCHDOG_SECONDS}\n"
TARGET = "[Unit]\nRequires=basic.target proof.service\nAfter=basic.target\n"
HANG = """

def _hang(begin, predict):
    def beginning(self, bundle, *rest):
        begin(self, bundle, *rest)
        self.hangs = bundle.manifest.release == 2

    def hanging(self, moment, pixels):
        if self.hangs:
            __import__("time").sleep(3600)
        return predict(self, moment, pixels)

    return beginning, hanging


InferencePipeline.__init__, InferencePipeline.predict = _hang(InferencePipeline.__init__, InferencePipeline.predict)
"""
PROOF = """\
import json, subprocess, time
from pathlib import Path

RESULTS, BEGUN = Path("/results"), time.monotonic()

def run(*command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{command}: {done.stdout}{done.stderr}")
    return done.stdout.strip()

def vedette(*words):
    return run("/opt/vedette/bin/vedette", *words)

def model():
    return json.loads(vedette("models", "--json"))[0]

def journal(*options):
    return run("journalctl", "-u", "vedette@door", "--no-pager", *options)

def wait_until(condition, what, seconds=120):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"waited for {what}: {journal('-n', '40')}")
        time.sleep(0.5)

def has_frames():
    done = subprocess.run(["/opt/vedette/bin/vedette", "status", "door", "--json"], capture_output=True, text=True)
    return not done.returncode and json.loads(done.stdout)[0]["frames"] > 0

vedette("install", "/results/1.vedette", "--camera", "door")
run("systemctl", "start", "vedette@door")
wait_until(has_frames, "frames")
vedette("install", "/results/2.vedette", "--probation", "60")
installed = time.monotonic()
wait_until(lambda: model()["current"] == 1, "the way back")
seconds = time.monotonic() - installed
wait_until(lambda: model()["probation"]["told"] and has_frames(), "the release before, and the event")
probation = model()["probation"]
report = {"outcome": probation["outcome"], "reason": probation["reason"], "seconds": seconds}
report["watchdog"] = journal().lower().count("watchdog timeout")
(RESULTS / "new").write_text(json.dumps(report))
(RESULTS / "new").rename(RESULTS / "end")
"""


@pytest.fixture
def machine(tmp_path: Path, key_folder: Path, line_images: Path) -> Iterator[tuple[Path, Path]]:
    with copied_machine(tmp_path, PROOF, TARGET, ["vedette@.service"]) as (root, results):
        etc, units = root / "etc/vedette", root / "etc/systemd/system"
        (etc / "cameras").mkdir()
        shutil.copytree(line_images, root / "opt/line")
        shutil.copytree(key_folder, etc / "keys", ignore=shutil.ignore_patterns("*.key"))
        for release in (1, 2):
            sign_altered(results / f"{release}.vedette", key_folder, release=release)
        (etc / "vedette.toml").write_text('[device]\nname = "box"\n[broker]\nurl = "mqtt://127.0.0.1:1"\n')
        (etc / "cameras/door.toml").write_text(
            'source = "file:/opt/line?fps=20&loop=true"\nbundle = "/results/1.vedette"\n[[rules]]\nuse = "presence"\n'
        )
        subprocess.run(["chmod", "-R", "a+rX", etc, root / "opt/line"], check=True)
        (units / "vedette@.service.d").mkdir()
        (units / "vedette@.service.d/proof.conf").write_text(DROP_IN)
        with (root / "opt/vedette/lib/vedette/runtime/inference/pipeline.py").open("a") as pipeline:
            pipeline.write(HANG)
        yield root, results


def test_a_release_that_hangs_is_ended_by_the_watchdog_and_left(
    machine: tuple[Path, Path], record_proof: Callable[..., None]
) -> None:
    root, results = machine
    container = boot(root, results)
    try:
        end = wait_for_report(container, results, "end", 300)
        assert container.wait(60) == 0
    finally:
        container.kill()
        container.wait()
    assert end["outcome"] == "rolled back"
    assert f"ended {MAX_STARTS} times" in end["reason"]
    assert end["watchdog"] == MAX_STARTS
    record_proof(MAX_STARTS, 0, watchdog_seconds=WATCHDOG_SECONDS, way_back_seconds=round(end["seconds"]))
