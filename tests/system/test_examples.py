"""Every example in the pages works as it stands: files are read as the commands would, commands and flags exist."""

from __future__ import annotations

import importlib
import re
import shlex
import subprocess
import sys
from typing import Any

import click
import msgspec
import pytest
from examples import Example, list_examples
from paths import ROOT

from vedette.deploy.provisioning.fleet_settings import read_settings
from vedette.devices.profile import DeviceProfile
from vedette.runtime import cli
from vedette.runtime.camera.monitored_camera import MonitoredCamera
from vedette.runtime.config.configuration import load_config
from vedette.runtime.rules.rule_set import RuleSet

EXAMPLES = list_examples()
# Pictures, output, another program's file, a part of some code.
TEXTS = (
    "workstation",
    "작업용",
    "box: events, judged",
    "alignment: rigid",
    "parity: asked",
    "persistence true",
    "mean = np",
    "name,line",
    "vedette: fleet.csv",
    "%% acl.conf",
    "pattern write",
    "<role>",
    "connection plant1",
    "[Service]",
    "                AUROC",
    "Gate7/onvif-ej",
    "triggers:",
    "part,reference",
    "looks/good",
    "openssl req",
    "import gzip",
    "triggered  ",
)
TUTORIALS = ("docs/tutorials/", "docs/ko/")
MINIMAL_CAMERA = 'source = "file:parts"\nbundle = "cells.vedette"\n'


def of_kind(*kinds: str) -> list[Any]:
    """The examples to check one by one. Files of tutorials belong together: test_tutorials.py runs them."""
    files = "shell" not in kinds
    found = [each for each in EXAMPLES if each.kind in kinds and not (files and each.page.startswith(TUTORIALS))]
    return [pytest.param(each, id=str(each)) for each in found]


def test_examples_are_found_and_none_is_of_an_unknown_kind() -> None:
    kinds = [each.kind for each in EXAMPLES]
    least = {"goal": 5, "device": 1, "camera": 8, "shell": 35, "json": 1, "profile": 1, "fleet": 1}
    for kind, count in least.items():
        assert kinds.count(kind) >= count, kind
    for each in EXAMPLES:
        if each.kind == "text":
            assert each.text.startswith(TEXTS), f"{each}: neither a file nor a known command: {each.text}"


@pytest.fixture
def device(tmp_path, line_images):
    """A folder for the files of a device."""
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    (tmp_path / "cameras" / "parts").symlink_to(line_images)
    return tmp_path


def camera_text(example: Example) -> str:
    """The camera's file that an example makes: it, or the minimal file with its tables."""
    content = example.toml
    assert content is not None
    text = example.text if "source" in content else MINIMAL_CAMERA + example.text
    return text if "rules" in content else f'{text}\n[[rules]]\nuse = "presence"\n'


@pytest.mark.parametrize("example", of_kind("camera"))
def test_camera_file(example, device, anomaly_bundle):
    (device / "cameras" / "door.toml").write_text(camera_text(example))
    settings = load_config(device, "door")
    MonitoredCamera(settings)
    manifest = msgspec.structs.replace(anomaly_bundle.manifest, labels=("anomaly", "person", "unknown"))
    assert list(RuleSet(settings, manifest))


@pytest.mark.parametrize("example", of_kind("device"))
def test_device_file(example, device):
    (device / "vedette.toml").write_text(example.text)
    (device / "cameras" / "door.toml").write_text(MINIMAL_CAMERA + '[[rules]]\nuse = "presence"')
    assert load_config(device, "door").broker.url == "mqtt://localhost:1883"


def test_device_and_camera_files_of_the_page_run_as_they_stand(device, anomaly_build, key_folder):
    """Only the broker and the state folder are others here; the parts come as fast as they can."""
    device_file = next(each for each in EXAMPLES if each.page == "docs/config.md" and each.kind == "device")
    examples = [each for each in EXAMPLES if each.page == "docs/config.md" and "bundle" in (each.toml or {})]
    assert len(examples) == 2
    (device / "keys").symlink_to(key_folder)
    (device / "cameras" / "cells.vedette").symlink_to(anomaly_build.bundle)
    text = device_file.text.replace("mqtt://localhost:1883", "stdout:").replace("/var/lib/vedette", "state")
    (device / "vedette.toml").write_text(text)
    events = []
    for number, example in enumerate(examples):
        name = f"door{number}"
        source = re.sub(r'source = "[^"]*"', 'source = "file:parts?fps=0"', example.text)
        (device / "cameras" / f"{name}.toml").write_text(source)
        command = [sys.executable, "-m", "vedette.runtime.cli", "run", name, "--config", str(device)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        assert "WARNING" not in done.stderr.replace("file system in memory", ""), done.stderr
        lines = [msgspec.json.decode(line) for line in done.stdout.splitlines() if line.startswith("{")]
        events.append([line["type"] for line in lines if line.get("type", "").startswith("vedette.presence")])
    minimal, whole = events
    assert minimal.count("vedette.presence.new") > 3, "each defective part is an event of its own"
    assert whole.count("vedette.presence.new") > 1, "and with all tables the parts are not one long alarm"


@pytest.mark.parametrize("example", of_kind("fleet"))
def test_fleet_settings(example, tmp_path):
    path = tmp_path / "fleet.toml"
    path.write_text(example.text)
    assert read_settings(path).broker.url.startswith("mqtts://")


@pytest.mark.parametrize("example", of_kind("goal"))
def test_goal_file(example, tmp_path):
    goal_reader = pytest.importorskip("vedette.compress.goal.goal_reader")
    text, content = example.text, example.toml
    if "task" not in content:
        text = 'name = "x"\ntask = "anomaly"\n' + ("" if "data" in content else '[data]\ngood = "good"\n') + text
    for name in ("screws.onnx", "yolox_nano.onnx", "net.onnx", "nanodet_m_320.onnx"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / "labels.txt").write_text("a\nb\n")
    for name in ("good", "defect", "known", "screws", "images", "labels", "footage", "abnormal", "corrections"):
        (tmp_path / name).mkdir()
    (tmp_path / "corrections" / "scores.csv").write_text("time,camera,model,score,alarm\n")
    (tmp_path / "goal.toml").write_text(text)
    assert goal_reader.read_goal(tmp_path / "goal.toml").name


@pytest.mark.parametrize("example", of_kind("profile"))
def test_device_profile(example):
    assert msgspec.toml.decode(example.text, type=DeviceProfile).name


def command_lines(text: str) -> list[list[str]]:
    """The commands of a block, one for each of the alternatives that brackets and bars give."""
    lines = []
    for line in text.splitlines():
        shown = re.sub(r"\s+#.*$", "", line.split("      ")[0] if line.lstrip().startswith("vedette outbox") else line)
        for part in shown.split(" && "):
            words = shlex.split(re.sub(r"[\[\]|]", " ", part).replace("…", "x"))
            if words:
                lines.append(words)
    return lines


def check_vedette(words: list[str]) -> None:
    """Raises a click error if a command or one of its options does not exist."""
    words = words[: words.index(">")] if ">" in words else words
    command: click.Command = cli.vedette
    context = click.Context(command, info_name="vedette")
    while isinstance(command, click.Group):
        if command.invoke_without_command and not (words and words[0] in command.commands):
            break  # a command that has subcommands and does something of its own
        name, words = words[0], words[1:]
        found = command.get_command(context, name)
        assert found is not None, f"no command {name}"
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_parser(context).parse_args(list(words))


def make_targets() -> set[str]:
    text = (ROOT / "Makefile").read_text()
    return {target for line in re.findall(r"^([\w./%-][\w ./%-]*):", text, re.MULTILINE) for target in line.split()}


@pytest.mark.parametrize("example", of_kind("shell"))
def test_command(example):
    for line in command_lines(example.text):
        words = line[1:] if line[0] == "sudo" else line
        first = words[0].rpartition("/")[2]
        if first == "vedette":
            check_vedette(words[1:])
        elif first == "make":
            targets = [word for word in words[1:] if "=" not in word and not word.startswith("build/")]
            assert set(targets) <= make_targets(), words
        elif words[0].startswith("tests/"):
            assert (ROOT / words[0]).exists(), words
            for word in words[1:]:
                assert not word.startswith("tests/") or (ROOT / word).exists(), word


def test_commands_named_in_sentences_exist():
    """`vedette verb` in running text names a verb that exists."""
    places = {
        "runtime": cli.DEVICE_COMMANDS,
        "deploy": cli.DEPLOY_COMMANDS,
        "compress": cli.WORKSHOP_COMMANDS,
    }
    verbs = {verb: place for place, table in places.items() for verb in table}
    for page in sorted({ROOT / "README.md", *(ROOT / "docs").glob("*.md")}):
        for verb in re.findall(r"`(?:sudo )?vedette ([a-z]+(?:-[a-z]+)*)", page.read_text()):
            assert verb in verbs, f"{page.name}: vedette {verb}"
    for verb, place in verbs.items():
        name = verb.replace("-", "_")
        assert getattr(importlib.import_module(f"vedette.{place}.commands.{name}"), name)
