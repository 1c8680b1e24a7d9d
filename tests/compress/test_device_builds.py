"""Builds for several devices: each bundle is that of a build for its device alone, and a page compares them."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess

import msgspec
import pytest

from vedette import devices
from vedette.compress import device_builds
from vedette.compress.build import BuildRequest
from vedette.compress.report.judgement import Judgement
from vedette.compress.report.verdict import Verdict
from vedette.compress.shared_steps import SharedSteps
from vedette.runtime.bundle import keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.errors import MachineProblem

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


@pytest.fixture
def build_for(anomaly_build, key_folder, tmp_path, monkeypatch):
    """Builds for devices of which some miss their goal and some cannot be built; the models were built before."""

    def run(names, missing=(), failing=()):
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
        return device_builds.build_for_devices(request, list(map(devices.load_profile, names)))

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
