"""`vedette doctor`: every check of it has a test that makes it fail."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess

import pytest
from mosquitto import BINARY, Mosquitto

from vedette.runtime.bundle import keys
from vedette.runtime.monitoring import doctor_checks, doctor_memory, key_permissions
from vedette.runtime.monitoring.doctor_checks import run_checks


@pytest.fixture
def camera(daemon_process, line_images):
    """The configuration of a camera with which nothing is wrong but the broker."""
    daemon_process.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    return daemon_process


def checks_of(camera, name="door"):
    return {each.what: each for each in run_checks(camera.folder, name)}


def test_everything_is_checked_and_works(camera):
    found = checks_of(camera)
    assert [what for what, each in found.items() if each.works is False] == ["broker"]
    assert {"machine", "profile", "onnxruntime", "keys", "door bundle", "door rules", "door"} <= set(found)
    assert found["door bundle"].works
    assert "signed by" in found["door bundle"].found


def test_it_says_before_the_cameras_need_more_memory_than_the_machine_has(camera, monkeypatch):
    clips = "[evidence]\nclip_seconds = 10.0\nclip_memory = 100000000\n"
    monkeypatch.setattr(doctor_memory, "read_memory_limit", lambda: 512_000_000)
    assert checks_of(camera)["memory"].works
    for number in range(2):
        text = camera.camera_file.read_text() + clips
        camera.camera_file.with_name(f"more{number}.toml").write_text(text)
    (found,) = [each for each in run_checks(camera.folder, None) if each.what == "memory"]
    assert found.works is None, "it fits, and little is left for the system"
    assert found.remedy
    monkeypatch.setattr(doctor_memory, "read_memory_limit", lambda: 400_000_000)
    (found,) = [each for each in run_checks(camera.folder, None) if each.what == "memory"]
    assert found.works is False
    assert "for 3 cameras, of 400 MB" in found.found


@pytest.mark.parametrize(
    ("old", "new", "what", "said"),
    [
        ("weave.vedette", "nope.vedette", "door bundle", "nope.vedette"),
        ('use = "presence"', 'use = "presence"\nlabels = ["person"]', "door rules", "person"),
        ('use = "presence"', 'use = "absence"', "door rules", "absence"),
        ('use = "presence"', 'use = "presence"\nthreshold = "x"', "door rules", "threshold"),
        ("[[rules]]", 'backend = "abacus"\n[[rules]]', "door bundle", "abacus"),
        ("file:", "file:nowhere", "door", "nowhere"),
        ("file:", "tape:", "door", "tape"),
        ("[[rules]]", "colour = 1\n[[rules]]", "door", "colour"),
    ],
)
def test_mistake_in_the_cameras_file_is_found(camera, old, new, what, said, call_vedette):
    text = camera.camera_file.read_text()
    assert old in text
    camera.camera_file.write_text(text.replace(old, new, 1))
    found = checks_of(camera)[what]
    assert found.works is False
    assert said in found.found
    assert found.remedy
    done = call_vedette("run", "door", "--config", camera.folder)
    assert done.returncode in (2, 3, 4), "run would fail, too"


def test_altered_bundle_and_unknown_signer_are_found(camera, tmp_path):
    content = bytearray(camera.bundle.read_bytes())
    content[len(content) // 2] ^= 1
    (tmp_path / "altered.vedette").write_bytes(content)
    text = camera.camera_file.read_text()
    camera.camera_file.write_text(text.replace(str(camera.bundle), str(tmp_path / "altered.vedette")))
    assert checks_of(camera)["door bundle"].works is False
    camera.camera_file.write_text(text)
    keys.generate_key_pair(tmp_path / "others")
    device = camera.folder / "vedette.toml"
    device.write_text(device.read_text().replace(str(camera.keys), str(tmp_path / "others")))
    found = checks_of(camera)["door bundle"]
    assert found.works is False
    assert "unknown key" in found.found


def test_wrong_time_zone_is_found(camera):
    camera.amend("device", 'timezone = "Mars/Olympus"')
    found = checks_of(camera)["door bundle"]
    assert found.works is False
    assert "Mars" in found.found


def test_gate_that_the_bundle_forbids_is_found(behaviour_build, key_folder, tmp_path, line_images):
    from daemon_process import DaemonProcess

    device = DaemonProcess(tmp_path / "yard", behaviour_build.bundle, key_folder)
    device.configure(f"file:{line_images}", "mqtt://127.0.0.1:1")
    device.append("[gate]\nseconds = 2.0")
    found = checks_of(device)["door rules"]
    assert found.works is False
    assert "gate" in found.found


def test_keys_that_are_missing_or_broken_are_found(camera, tmp_path):
    device = camera.folder / "vedette.toml"
    text = device.read_text()
    device.write_text(text.replace(str(camera.keys), str(tmp_path / "nowhere")))
    found = checks_of(camera)["keys"]
    assert found.works is False
    assert "nowhere" in found.found
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.pub").write_text("no key")
    device.write_text(text.replace(str(camera.keys), str(tmp_path / "broken")))
    assert checks_of(camera)["keys"].works is False


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, for whom every key is readable")
def test_keys_that_the_services_user_may_not_read_are_found(camera, tmp_path, monkeypatch):
    monkeypatch.setattr(doctor_checks, "SERVICE_USER", "nobody")
    monkeypatch.setattr(key_permissions.Path, "home", lambda: tmp_path / "home")
    ring = tmp_path / "ring"
    shutil.copytree(camera.keys, ring)
    for each in (tmp_path, *tmp_path.parents):
        if each != each.parent:
            each.chmod(each.stat().st_mode | 0o011)
    device = camera.folder / "vedette.toml"
    device.write_text(device.read_text().replace(str(camera.keys), str(ring)))
    public = ring / "vedette.pub"
    ring.chmod(0o755)
    public.chmod(0o644)
    assert checks_of(camera)["keys"].works is True
    nobody = pwd.getpwnam("nobody")
    for folder_mode, file_mode, works in ((0o700, 0o644, False), (0o755, 0o600, False), (0o755, 0o640, False)):
        ring.chmod(folder_mode)
        public.chmod(file_mode)
        found = checks_of(camera)["keys"]
        assert found.works is works
        assert "chmod -R a+rX" in found.remedy
    os.chown(public, 0, nobody.pw_gid)
    assert checks_of(camera)["keys"].works is True


def test_missing_libraries_are_found(camera, monkeypatch):
    import builtins

    original = builtins.__import__

    def without_back_ends(name, *arguments, **options):
        if name.split(".")[0] in ("onnxruntime", "ai_edge_litert", "tflite_runtime"):
            raise ImportError(name)
        return original(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without_back_ends)
    found = {each.what: each for each in doctor_checks._check_libraries()}
    assert found["back ends"].works is False
    assert "pip install" in found["back ends"].remedy


def test_no_cameras_and_a_wrong_device_file_are_found(camera):
    camera.camera_file.unlink()
    (found,) = [each for each in run_checks(camera.folder, None) if each.works is False]
    assert found.what == "cameras"
    (camera.folder / "vedette.toml").write_text("colour = 1")
    camera.camera_file.write_text("source = 'file:x'\nbundle='x'\n[[rules]]\nuse='presence'")
    assert checks_of(camera)["door"].works is False


def test_source_without_a_frame_is_found(camera):
    text = camera.camera_file.read_text().partition("[[rules]]")[2]
    camera.camera_file.write_text(f"source='rtsp://127.0.0.1:9/x'\nbundle='{camera.bundle}'\n[[rules]]{text}")
    found = checks_of(camera)["door"]
    assert found.works is False
    assert "nothing listens at port 9" in found.found


@pytest.fixture
def closed_broker(tmp_path):
    """A broker that wants a login."""
    if BINARY is None or shutil.which("mosquitto_passwd") is None:
        pytest.skip("needs mosquitto: apt-get install mosquitto")
    subprocess.run(["mosquitto_passwd", "-c", "-b", tmp_path / "users", "box", "right"], check=True)
    broker = Mosquitto(tmp_path / "broker", f"password_file {tmp_path / 'users'}\n")
    broker.config.write_text(broker.config.read_text().replace("allow_anonymous true", "allow_anonymous false"))
    broker.start()
    yield broker
    broker.kill()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_wrong_login_at_the_broker_is_told_as_that(camera, closed_broker, protocol, tmp_path, wait_until, call_vedette):
    device = camera.folder / "vedette.toml"
    url = f"mqtt://127.0.0.1:{closed_broker.port}"
    text = device.read_text().replace(camera.no_broker, url)
    text = text.replace("[broker]", f'[broker]\nprotocol = "{protocol}"')
    device.write_text(text)
    without = checks_of(camera)["broker"]
    assert without.works is False
    assert "asks for a login" in without.found
    assert "broker.username" in without.remedy

    secret = tmp_path / "password"
    secret.write_text("wrong")
    secret.chmod(0o600)
    device.write_text(text.replace("[broker]", f'[broker]\nusername = "box"\npassword_file = "{secret}"'))
    wrong = checks_of(camera)["broker"]
    assert wrong.works is False
    assert "refuses the login of the user box" in wrong.found
    assert "broker.password_file" in wrong.remedy
    assert "wrong" not in f"{wrong.found} {wrong.remedy}"

    if protocol == "5":
        source = camera.camera_file.read_text().split('"')[1]
        camera.camera_file.write_text(camera.camera_file.read_text().replace(source, f"{source}?fps=5&loop=true"))
        process = camera.start()
        wait_until(lambda: "refuses the login" in camera.log(), "the reason in the log")
        wait_until(
            lambda: "the broker refuses the login" in call_vedette("status", "--config", camera.folder).stdout, "status"
        )
        process.kill()

    secret.write_text("right")
    assert checks_of(camera)["broker"].works is True


def test_open_secrets_and_unfitted_zones_are_told(camera, tmp_path):
    secret = tmp_path / "password"
    secret.write_text("hunter2")
    secret.chmod(0o644)
    device = camera.folder / "vedette.toml"
    device.write_text(device.read_text().replace("[broker]", f'[broker]\nusername = "box"\npassword_file = "{secret}"'))
    camera.append("[privacy]\nzones = [[[0.0, 0.0], [0.4, 0.0], [0.4, 0.3]]]")
    found = checks_of(camera)
    assert "can be read by every user" in found["secrets"].found
    assert found["secrets"].works is None
    assert "without privacy zones" in found["door privacy"].found
