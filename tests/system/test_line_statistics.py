"""`vedette report`, and the retained topic `stats/part` of a real daemon at a real broker."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Callable
from pathlib import Path
from subprocess import CompletedProcess

import pytest
from daemon_process import DaemonProcess
from mosquitto import Mosquitto
from shift_example import write_shifts
from subscriber import Subscriber
from verdicts import make_verdict

from vedette.runtime.config.configuration import load_config
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.part_counts import PartCounts

Command = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="module")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("line") / "config"
    write_shifts(folder)
    return folder


def test_a_shift_as_text_json_and_page(line: Path, tmp_path: Path, call_vedette: Command) -> None:
    page = tmp_path / "shift.html"
    done = call_vedette("report", "shift", "door", "--config", line, "--html", page, "--rejects", "2")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("door, early of 2026-11-27: 1600 parts")
    assert "first-pass yield" in done.stdout
    assert "EWMA" in done.stdout
    assert "Rejects over time" in page.read_text()
    assert page.read_text().count('<figure class="reject">') == 2
    assert "[evidence] thumbnail is off" in page.read_text()
    assert "  rejected          part 1: score" in done.stdout
    answer = json.loads(call_vedette("report", "shift", "door", "--config", line, "--json").stdout)
    assert answer["numbers"]["total"]["parts"] == 1600
    assert answer["products"][0]["p_chart"]["false_alarm_rate"] < 0.0027
    refused = call_vedette("report", "shift", "door", "--config", line, "--day", "2026-01-01")
    assert refused.returncode == 2
    assert "the newest are" in refused.stderr


def test_counters_as_csv_and_parquet_hold_every_part(line: Path, tmp_path: Path, call_vedette: Command) -> None:
    table, binary = tmp_path / "counts.csv", tmp_path / "counts.parquet"
    done = call_vedette("report", "export", "door", "--config", line, "--csv", table, "--from", "2026-11-26")
    assert done.returncode == 0, done.stderr
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert sum(int(row["parts"]) for row in rows if row["what"] == "verdict") == 3200
    assert {row["hour"] for row in rows if row["begins"].startswith("2026-11-27T05")} == {"2026-11-27T06:00+01:00"}
    parquet = pytest.importorskip("pyarrow.parquet")
    done = call_vedette("report", "export", "door", "--config", line, "--parquet", binary, "--from", "2026-11-26")
    assert done.returncode == 0, done.stderr
    columns = parquet.read_table(binary).to_pydict()
    assert columns["parts"] == [int(row["parts"]) for row in rows]
    assert columns["name"] == [row["name"] for row in rows]


def test_without_a_file_name_and_without_pyarrow(
    line: Path, tmp_path: Path, call_vedette: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = call_vedette("report", "export", "door", "--config", line)
    assert done.returncode == 2
    assert "--csv FILE or --parquet FILE" in done.stderr
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    done = call_vedette("report", "export", "door", "--config", line, "--parquet", tmp_path / "x.parquet")
    assert done.returncode == 4
    assert "[parquet]" in done.stderr
    assert not (tmp_path / "x.parquet").exists()


def test_a_daemon_keeps_the_numbers_of_the_shift_at_the_broker(
    daemon_process: DaemonProcess,
    mosquitto: Mosquitto,
    subscribe: Callable[[int], Subscriber],
    line_images: Path,
    wait_until: Callable[..., None],
) -> None:
    daemon_process.configure(f"file:{line_images}?fps=5&loop=true", f"mqtt://127.0.0.1:{mosquitto.port}")
    daemon_process.amend("device", 'timezone = "Europe/Berlin"')
    settings = load_config(daemon_process.folder, "door")
    outbox = Outbox.from_config(settings)
    PartCounts.from_config(settings, outbox)
    outbox.put(*[make_verdict(time.time(), kind) for kind in ("accept", "accept", "reject")])
    outbox.acknowledge([1, 2, 3])  # the broker has them: this test is about the numbers
    outbox.close()
    daemon_process.start()
    subscriber = subscribe(mosquitto.port)
    wait_until(lambda: subscriber.latest("part") is not None, "the numbers of the shift")
    numbers = json.loads(subscriber.latest("part") or b"")
    assert (numbers["camera"], numbers["shift"], numbers["total"]["parts"]) == ("door", "day", 3)
    assert numbers["total"]["yield"] == pytest.approx(2 / 3)
    late = subscribe(mosquitto.port)
    wait_until(lambda: late.latest("part") is not None, "the retained message")
