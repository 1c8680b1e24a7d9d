"""Builds for several devices: each bundle is that of a build for its device alone, and a page compares them."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import subprocess

import msgspec
import pytest
from stand_ins import install_edgetpu_compiler

from vedette import devices
from vedette.compress import device_builds
from vedette.compress.build import BuildRequest
from vedette.compress.commands.accelerators import add_accelerators
from vedette.compress.export.compilers.device_compilers import load_compilers
from vedette.compress.report.judgement import Judgement
from vedette.compress.report.verdict import Verdict
from vedette.compress.shared_steps import SharedSteps
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.progress import no_log

TIMED = ("ms", "p95_ms", "seconds")
MISSED = Verdict((Judgement("max_ms", 10.0, 25.0, False, "p95, measured there"),))


def without_times(facts):
    """Facts of a build without what a clock has measured, and without digests of what states such times."""
    if isinstance(facts, dict):
        kept = {key: value for key, value in facts.items() if not key.startswith(TIMED)}
        return {key: without_times(value) for key, value in kept.items()}
    return [without_times(each) for each in facts] if isinstance(facts, list) else facts


def words_of(page):
    """The text of a page, without its style."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", " ", page.read_text().partition("</style>")[2])).split())


@pytest.mark.slow
@pytest.mark.build
def test_bundle_is_that_of_its_device_alone(anomaly_images, anomaly_build, key_folder, keyring, call_vedette, tmp_path):
    """The device of `anomaly_build` comes second here, so it takes over what was made for the first."""
    options = ["--out", tmp_path, "--key", key_folder / "vedette.key", "--devices", "n100, host", "--json"]
    done = call_vedette("build", anomaly_images / "goal.toml", *options)
    assert done.returncode == 0, done.stderr
    assert "reading the images: as for n100" in done.stderr
    assert "reviewing the security of the model: as for n100" in done.stderr
    printed = json.loads(done.stdout)
    assert list(printed["devices"]) == ["n100", "host"]

    alone = Bundle.open(anomaly_build.bundle, keyring)
    bundles = {name: Bundle.open(tmp_path / name / "weave.vedette", keyring) for name in ("n100", "host")}
    assert {name: bundle.manifest.device for name, bundle in bundles.items()} == {"n100": "n100", "host": "host"}
    for bundle in bundles.values():
        assert bundle.members.keys() == alone.members.keys()
        stated = {"report.html", "report.json", "manifest.json", "manifest.sig"}
        assert all(bundle.members[name] == alone.members[name] for name in alone.members.keys() - stated)
    ours, theirs = (msgspec.to_builtins(each.manifest) for each in (bundles["host"], alone))
    assert without_times(ours | {"files": {}}) == without_times(theirs | {"files": {}})
    ours, theirs = (json.loads(each.members["report.json"]) for each in (bundles["host"], alone))
    assert without_times(ours) == without_times(theirs)

    compared = json.loads((tmp_path / "weave-devices.json").read_text())["devices"]
    assert (compared["n100"]["same_model_as"], compared["host"]["same_model_as"]) == (None, "n100")
    assert compared["n100"]["taken_over"] == {}
    assert compared["n100"]["backend"] is None
    assert compared["host"]["cpu_seconds"] < compared["n100"]["cpu_seconds"]
    text = words_of(tmp_path / "weave-devices.html")
    assert "All devices get the same model files" in text
    assert "not known: vedette bench on the device measures them" in text


@pytest.mark.slow
@pytest.mark.build
@pytest.mark.parametrize("images", ["detection_images", "behaviour_videos", "class_images"])
def test_every_task_is_built_for_several_devices(request, images, key_folder, keyring, call_vedette, tmp_path):
    goal = request.getfixturevalue(images) / "goal.toml"
    options = ["--out", tmp_path, "--key", key_folder / "vedette.key", "--devices", "pi4,pi5,n100", "--json"]
    done = call_vedette("build", goal, *options)
    assert done.returncode in (0, 1), done.stderr
    (page,) = tmp_path.glob("*-devices.html")
    (stated,) = tmp_path.glob("*-devices.json")
    compared = json.loads(stated.read_text())
    assert (list(compared["devices"]), compared["missing"]) == (["pi4", "pi5", "n100"], [])
    for name, each in compared["devices"].items():
        bundle = Bundle.open(tmp_path / each["bundle"], keyring)
        assert bundle.manifest.device == name
        assert (tmp_path / each["report"]).exists()
        counted = [cost["instructions"] for cost in each["on_device"].values()]
        assert bool(counted) == (name != "n100"), "an N100 was never counted"
        assert all(counted)
    assert compared["devices"]["n100"]["cpu_seconds"] < compared["devices"]["pi4"]["cpu_seconds"]
    assert "vedette bench on the device measures them" in words_of(page)


@pytest.fixture
def build_for(anomaly_build, key_folder, tmp_path, monkeypatch):
    """Builds for devices of which some miss their goal and some cannot be built; the models were built before."""

    def run(names, missing=(), failing=(), finish=lambda result, _: result):
        def build(request, *_):
            name = request.profile.name
            if name in failing:
                raise MachineProblem("the disk is full", hint="free some")
            verdict = MISSED if name in missing else anomaly_build.verdict
            manifest = msgspec.structs.replace(anomaly_build.manifest, goal_met=verdict.met, missed=verdict.missed)
            return msgspec.structs.replace(anomaly_build, verdict=verdict, manifest=manifest)

        monkeypatch.setattr(device_builds.single_build, "build", build)
        goal = anomaly_build.split.test[0].parent.parent / "goal.toml"
        request = BuildRequest(goal, tmp_path, keys.read_private_key(key_folder / "vedette.key"))
        return device_builds.build_for_devices(request, list(map(devices.load_profile, names)), finish=finish)

    return run


def test_one_missed_goal_is_that_of_the_run(build_for):
    assert build_for(["pi4", "pi5"]).goal_met
    built = build_for(["pi4", "pi5"], missing=["pi4"])
    assert not built.goal_met
    text = words_of(built.page)
    first, second = text.split("pi5 Raspberry Pi 5")[:2]
    assert "The goal is missed. max_ms: asked 10, found 25, missed by 15" in first
    assert "The goal is missed." not in second


def test_interrupted_run_says_which_devices_are_missing(build_for, tmp_path):
    with pytest.raises(MachineProblem):
        build_for(["pi4", "pi5", "n100"], failing=["pi5"])
    assert "Not built yet: pi5, n100." in words_of(tmp_path / "weave-devices.html")
    assert json.loads((tmp_path / "weave-devices.json").read_text())["missing"] == ["pi5", "n100"]


HAILO_COMPILER = """#!/bin/sh
case "$1" in
--version) echo "Hailo Dataflow Compiler v3.33.0" ;;
parser) echo parser >> "$CALLS"; cp model.onnx model.har ;;
optimize) cp model.har quantized.har ;;
compiler) { printf '\\001HEF'; cat quantized.har; } > "$4/model.hef" ;;
esac
"""


@pytest.fixture
def compilers(tmp_path, monkeypatch):
    """Stand-ins for two vendors' compilers, the second of which notes its calls."""
    folder = tmp_path / "programs"
    folder.mkdir()
    install_edgetpu_compiler(folder)
    (folder / "hailo").write_text(HAILO_COMPILER)
    (folder / "hailo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("CALLS", str(tmp_path / "calls"))


@pytest.mark.usefixtures("compilers")
@pytest.mark.build
def test_devices_get_their_compiled_models_and_equal_ones_are_made_once(
    build_for, anomaly_build, key_folder, keyring, tmp_path
):
    names, private = ["pi4", "pi5", "n100"], keys.read_private_key(key_folder / "vedette.key")
    by_device = load_compilers(["pi4=edgetpu", "hailo:hailo8"], names)
    assert {name: list(each) for name, each in by_device.items()} == {
        "pi4": ["edgetpu", "hailo"],
        "pi5": ["hailo"],
        "n100": ["hailo"],
    }

    def finish(result, device):
        folder = tmp_path / device
        folder.mkdir()
        for file in (result.bundle, result.bundle.with_suffix(".float.onnx")):
            shutil.copy(file, folder)
        result = msgspec.structs.replace(result, bundle=folder / result.bundle.name)
        limit = 10 if device == "n100" else None
        return add_accelerators(result, by_device[device], private, limit, no_log)

    built = build_for(names, finish=finish)
    assert (tmp_path / "calls").read_text() == "parser\n", "once for three devices with the same files"
    found = {name: Bundle.open(result.bundle, keyring) for name, result in built.results.items()}
    assert {name: sorted(each.manifest.compiled) for name, each in found.items()} == {
        "pi4": ["edgetpu", "hailo"],
        "pi5": ["hailo"],
        "n100": ["hailo"],
    }
    assert found["pi4"].model("hailo") == found["n100"].model("hailo")
    assert not built.goal_met
    compared = json.loads(built.page.with_suffix(".json").read_text())["devices"]
    assert compared["pi4"]["compiled"]["edgetpu"]["bytes"] == len(found["pi4"].model("edgetpu"))
    assert compared["pi5"]["compiled"].keys() == {"hailo"}
    assert (compared["pi5"]["goal_met"], compared["n100"]["goal_met"]) == (True, False)
    text = words_of(built.page)
    assert "max_bytes: asked 10, found " in text
    assert "hailo hailo8, " in text
    assert "for accelerators edgetpu , " in text


@pytest.mark.usefixtures("compilers")
@pytest.mark.parametrize(
    ("targets", "names", "message"),
    [
        (["pi5=edgetpu"], [], "'pi5' is not built"),
        (["zero2w=edgetpu"], ["pi4", "pi5"], "'zero2w' is not built"),
        (["edgetpu", "pi5=edgetpu"], ["pi4", "pi5"], "the bundle of pi5 gets a model for edgetpu already"),
        (["hailo:hailo8", "hailo"], [], "the bundle gets a model for hailo already"),
        (["pi5=npu"], ["pi5"], "--for"),
    ],
)
def test_a_target_that_fits_no_device_is_an_error(targets, names, message):
    with pytest.raises(ConfigProblem, match=message):
        load_compilers(targets, names)


def test_page_is_not_wider_than_a_small_window(build_for, tmp_path):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    built = build_for(["pi4", "pi5", "n100", "zero2w"], missing=["n100"])
    page = tmp_path / "probed.html"
    measure = "document.title = `wide ${document.documentElement.scrollWidth - document.documentElement.clientWidth}`"
    page.write_text(f"{built.page.read_text()}<script>{measure};</script>")
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command += ["--window-size=390,900", "--host-resolver-rules=MAP * ~NOTFOUND", "--dump-dom", page.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    found = re.search(r"<title>wide (-?\d+)</title>", done.stdout)
    assert found, done.stdout[:500]
    assert int(found[1]) <= 0


@pytest.mark.parametrize(
    ("names", "others", "message"),
    [
        ("pi4,pi9", [], "unknown 'pi9'"),
        ("pi4,", [], "unknown ''"),
        ("pi4,pi4", [], "named twice"),
        ("pi4,pi5", ["--on", "ssh://pi@box"], "--devices goes with neither"),
        ("pi4,pi5", ["--profile", "pi4.json"], "--devices goes with neither"),
        ("pi4,pi5", ["--for", "pi4=npu"], "--for"),
    ],
)
def test_wrong_devices_are_an_error_before_any_work(anomaly_images, call_vedette, tmp_path, names, others, message):
    done = call_vedette("build", anomaly_images / "goal.toml", "--out", tmp_path / "out", "--devices", names, *others)
    assert done.returncode == 2
    assert message in done.stderr
    if "unknown" in message:
        assert "known: host, jetson-orin-nano, n100, pi3, pi4, pi5, zero2w" in done.stderr
    assert not (tmp_path / "out").exists()


def test_step_runs_again_only_for_other_models():
    steps, calls, lines = SharedSteps(), [], []
    for device, models in (("pi4", "a"), ("pi5", "b"), ("n100", "a")):
        steps.begin(device, lines.append)
        assert steps.run(models, "testing", lambda name: calls.append(name) or name, models) == models
    assert calls == ["a", "b"]
    assert lines == ["testing", "testing", "testing: as for pi4"]
    assert steps.taken_over == {"testing": "pi4"}
