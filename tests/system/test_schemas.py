"""The JSON Schemas and the AsyncAPI document are those of the types, valid, and what docs/events.md says.

The fixture `subscribe` holds every message that a daemon of any test publishes against them.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator
from message_schemas import SCHEMAS, describe_errors, schema_of
from paths import ROOT

from vedette.runtime.events.system_events import SYSTEM_EVENTS

DOCUMENT = ROOT / "docs" / "asyncapi.yaml"
PAGE = (ROOT / "docs" / "events.md").read_text()
SPECS = "@asyncapi/specs@6.11.1"
ROOT_TOPIC = "vedette/v1/plant/hall/line/box"


def system_event(kind: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": "018f-id",
        "source": "/plant/hall/line/box/door",
        "type": f"vedette.{kind}",
        "time": "2026-01-31T23:59:59.123Z",
        "sequence": "000000000042",
        "epoch": "5eed5eed",
        "timequality": "synced",
        "data": data,
    }


def test_files_are_those_of_the_types() -> None:
    command = [sys.executable, str(ROOT / "docs" / "write_schemas.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("path", sorted(SCHEMAS.glob("*.json")), ids=lambda path: path.stem)
def test_schema_is_one(path: Path) -> None:
    Draft202012Validator.check_schema(json.loads(path.read_text()))


def test_example_in_the_documents_is_valid() -> None:
    block = re.search(r"^    \{\n.*?^    \}\n", PAGE, re.DOTALL | re.MULTILINE)
    assert block is not None
    assert describe_errors("event", json.loads(block[0])) == []


def test_documents_list_every_event_about_the_device() -> None:
    section = PAGE.partition("## Events about the device itself")[2]
    listed = set()
    for row in re.findall(r"^\| (`vedette\.[^|]*) \|", section, re.MULTILINE):
        names = re.findall(r"`([^`]*)`", row)
        rule = names[0].split(".")[1]
        listed |= {f"{rule}.{name.rpartition('.')[2]}" for name in names}
    kinds = {kind for kind in SYSTEM_EVENTS if not kind.startswith("camera.")}
    assert listed - {"camera.KIND"} == kinds
    cameras = (ROOT / "docs" / "cameras.md").read_text()
    assert {f"camera.{kind}" for kind in re.findall(r"^\| `vedette\.camera\.(\w+)`", cameras, re.MULTILINE)} == {
        kind for kind in SYSTEM_EVENTS if kind.startswith("camera.")
    }


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (system_event("outbox.evicted", {"first": 1, "last": 9, "count": 9}), False),
        (system_event("outbox.evicted", {"truncated": 300_000}), False),
        (system_event("outbox.evicted", {"first": 1, "last": 9}), True),
        (system_event("outbox.evicted", {"first": 1, "last": 9, "count": 9, "more": 1}), True),
        (system_event("outbox.unheard_of", {}), True),
        (system_event("camera.recovered", {"from": "dark", "seconds": 3.0}), False),
        (system_event("camera.recovered", {"seconds": 3.0}), True),
        ({**system_event("broker.duplicate_identity", {}), "sequence": "42"}, True),
        ({**system_event("broker.duplicate_identity", {}), "modelid": "cells:1:ab"}, True),
    ],
)
def test_schema_of_system_events_tells_wrong_ones(body: dict[str, Any], error: bool) -> None:
    assert bool(describe_errors("system-event", body)) == error


def test_every_topic_of_a_device_is_a_channel() -> None:
    document = yaml.safe_load(DOCUMENT.read_text())
    addresses = {channel["address"].partition("{device}/")[2] for channel in document["channels"].values()}
    rows = re.findall(r"^\| (`[^|]*) \| (?:never|yes)", PAGE, re.MULTILINE)
    topics = {name for row in rows for name in re.findall(r"`([^`]*)`", row)}
    assert addresses == {
        topic.replace("CAMERA", "{camera}").replace("RULE", "{rule}").replace("…", "{answer}") for topic in topics
    }
    for topic, payload in (("evt/door/presence", b'{"modelid":""}'), ("evt/door/camera", b"{}"), ("res/1", b"{}")):
        assert (SCHEMAS / f"{schema_of(f'{ROOT_TOPIC}/{topic}', payload)}.json").exists()


def test_files_that_the_document_names_exist() -> None:
    names = re.findall(r"\./schemas/([\w-]+)\.json", DOCUMENT.read_text())
    assert len(names) > 8
    assert all((SCHEMAS / f"{name}.json").exists() for name in names)


@pytest.mark.slow
def test_asyncapi_document_is_valid(tmp_path: Path) -> None:
    """By the schema of AsyncAPI 3.0.0 that its makers publish (npm)."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("npm is not installed")
    done = subprocess.run([npm, "pack", SPECS], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm does not give {SPECS}: {done.stderr[-200:]}")
    (archive,) = tmp_path.glob("*.tgz")
    with tarfile.open(archive) as files:
        member = files.extractfile("package/schemas/3.0.0-without-$id.json")
        assert member is not None
        validator = Draft7Validator(json.load(member))
    document = yaml.safe_load(DOCUMENT.read_text())
    assert [error.message for error in validator.iter_errors(document)] == []
    document["channels"]["events"]["addres"] = document["channels"]["events"].pop("address")
    assert not validator.is_valid(document)
