"""Configuration files: valid ones load; each error names the file, the key and the remedy."""

from __future__ import annotations

import io

import numpy as np
import pytest

from vedette.compress.export import bundle_writer
from vedette.runtime.bundle import keys
from vedette.runtime.config import configuration
from vedette.runtime.errors import ConfigProblem

DEVICE = '[device]\nname = "box"\n[broker]\nurl = "mqtt://localhost"\n'
CAMERA = 'source = "file:x"\nbundle = "x.vedette"\n[[rules]]\nuse = "presence"\n'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(DEVICE)
    (tmp_path / "cameras" / "door.toml").write_text(CAMERA)
    return tmp_path


def test_valid_configuration_loads_with_absolute_paths(folder):
    loaded = configuration.load_config(folder, "door")
    assert loaded.bundle == folder / "cameras" / "x.vedette"
    assert loaded.state == folder / "state"
    assert loaded.broker.prefix == "vedette"


INVALID_FILES = [
    ("vedette.toml", DEVICE + "colour = 1\n", "colour", "broker.url"),
    ("vedette.toml", DEVICE.replace("name", "nmae"), "nmae", "device.name"),
    ("vedette.toml", DEVICE.replace('"box"', "7"), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '"a/b"'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '"box\\n"'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '".."'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE + 'prefix = "a/#"\n', "$.broker.prefix", "docs/config.md"),
    ("vedette.toml", DEVICE + "keepalive = 1\n", "$.broker.keepalive", "docs/config.md"),
    ("vedette.toml", DEVICE + "batch = { seconds = 11 }\n", "$.broker.batch.seconds", "docs/config.md"),
    ("vedette.toml", DEVICE + "batch = { bytes = 100 }\n", "$.broker.batch.bytes", "docs/config.md"),
    ("vedette.toml", DEVICE + 'batch = { encoding = "zstd" }\n', "$.broker.batch.encoding", "docs/config.md"),
    ("vedette.toml", DEVICE + "batch = { secnds = 1 }\n", "secnds", "broker.batch.seconds"),
    ("vedette.toml", "[device\n", "not TOML", "correct the file"),
    ("vedette.toml", b"\xff\xfe", "not TOML", "correct the file"),
    ("vedette.toml", None, "No such file", "docs/config.md"),
    ("cameras/door.toml", None, "No such file", "docs/config.md"),
    ("cameras/door.toml", CAMERA.replace("source", "sauce"), "sauce", "known keys"),
    ("cameras/door.toml", CAMERA.replace('bundle = "x.vedette"\n', ""), "bundle", "known keys"),
    ("cameras/door.toml", "threads = 0\n" + CAMERA, "threads", "docs/config.md"),
    ("cameras/door.toml", CAMERA.split("[[", maxsplit=1)[0] + "rules = []\n", "no rules", "presence"),
]


@pytest.mark.parametrize(("name", "text", "message", "remedy"), INVALID_FILES)
def test_error_names_file_key_and_remedy(folder, name, text, message, remedy):
    path = folder / name
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigProblem) as caught:
        configuration.load_config(folder, "door")
    assert str(path) in caught.value.message
    assert message in caught.value.message
    assert remedy in caught.value.hint
    assert caught.value.code == 2


@pytest.mark.parametrize("name", ["../vedette", "..", "a b", "door\n", ""])
def test_camera_name_must_not_be_a_path(folder, name):
    with pytest.raises(ConfigProblem, match="camera"):
        configuration.load_config(folder, name)


# The daemon refuses to start: exit code, one message, one remedy, and no outbox is created.


@pytest.fixture
def configured(daemon_process, line_images):
    daemon_process.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    return daemon_process


def assert_start_fails(device, vedette, code, *words):
    done = vedette("run", "door", "--config", device.folder)
    assert done.returncode == code, done.stderr
    message, remedy = done.stderr.strip().splitlines()[-2:]
    assert message.startswith("vedette: ")
    assert remedy.startswith("  remedy: ")
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not device.outbox.exists()


def test_unknown_key_exits_2(configured, call_vedette):
    path = configured.camera_file
    path.write_text("colour = 1\n" + path.read_text())
    assert_start_fails(configured, call_vedette, 2, str(path), "colour")


@pytest.mark.parametrize(
    ("rule", "word"),
    [
        ('name = "a/#"', "name"),
        ('name = ""', "name"),
        ('label = "dog"', "dog"),
        ('[[rules]]\nuse = "presence"', "a second rule"),
        ("hysteresis = 2.0", "hysteresis"),
        ("sped = 1", "sped"),
        ("debounce = 0", "debounce"),
        ('threshold = "x"', "threshold"),
    ],
)
def test_invalid_rule_exits_2(configured, line_images, call_vedette, rule, word):
    configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1", rule)
    assert_start_fails(configured, call_vedette, 2, "door.toml: rules[", word)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("file:nowhere", "nowhere"),
        ("tape:x", "known values: file"),
        ("file:x?speed=2", "speed"),
        ("file:x?fps=-1", "fps"),
        ("file:x?fps=nan", "fps"),
        ("file:x?fps=inf", "fps"),
        ("file://[x", "source"),
    ],
)
def test_invalid_source_exits_2(configured, call_vedette, source, word):
    configured.configure(source, "mqtt://127.0.0.1:1")
    assert_start_fails(configured, call_vedette, 2, word)


@pytest.mark.parametrize(
    "url", ["pigeon://roof", "mqtt://", "mqtt://host:port", "mqtt://[bad", "mqtt://.bad.:1", "mqtt://bob:secret@host"]
)
def test_invalid_broker_url_exits_2_and_hides_password(configured, line_images, call_vedette, url):
    configured.configure(f"file:{line_images}?fps=0", url)
    assert_start_fails(configured, call_vedette, 2, "vedette.toml", "broker.url")
    assert "secret" not in call_vedette("run", "door", "--config", configured.folder).stderr


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[tracker]\nkeeep = 3.0\n", ("door.toml", "keeep", "tracker.keep")),
        ("[tracker]\niou = 1.5\n", ("door.toml", "tracker.iou")),
        ("[tracker]\nconfirm = 0\n", ("door.toml", "tracker.confirm")),
    ],
)
def test_invalid_tracker_settings_exit_2(configured, call_vedette, table, words):
    path = configured.camera_file
    path.write_text(path.read_text().replace("[[rules]]", table + "[[rules]]"))
    assert_start_fails(configured, call_vedette, 2, *words)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe"])
def test_invalid_time_zone_exits_2(configured, call_vedette, zone):
    configured.amend("device", f'timezone = "{zone}"')
    assert_start_fails(configured, call_vedette, 2, "vedette.toml: device.timezone", zone)


def test_unknown_rule_or_backend_exits_2(configured, line_images, call_vedette):
    path = configured.camera_file
    path.write_text(path.read_text().replace('"presence"', '"absence"'))
    assert_start_fails(configured, call_vedette, 2, "absence", "known values: crossing, crowd")
    configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1", backend="abacus")
    assert_start_fails(
        configured, call_vedette, 2, "abacus", "known values: cuda, edgetpu, hailo, onnx, tensorrt, tflite"
    )


def test_rule_name_must_be_a_string(configured, call_vedette):
    path = configured.camera_file
    path.write_text(path.read_text().replace('"presence"', '["presence"]'))
    assert_start_fails(configured, call_vedette, 2, "rules[0]", "known values: crossing, crowd")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_unreadable_password_file_exits_2(configured, call_vedette, content):
    path = configured.folder / "vedette.toml"
    path.write_text(path.read_text() + 'username = "u"\npassword_file = "secret"\n')
    if content is not None:
        (configured.folder / "secret").write_bytes(content)
    assert_start_fails(configured, call_vedette, 2, "password_file", str(configured.folder / "secret"))


def test_missing_bundle_exits_3(configured, line_images, run_vedette):
    configured.bundle = configured.folder / "gone.vedette"
    configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    assert_start_fails(configured, run_vedette, 3, "gone.vedette")


def test_tampered_bundle_exits_3(configured, line_images, call_vedette):
    content = bytearray(configured.bundle.read_bytes())
    content[content.index(b"model.onnx") + 5000] ^= 1
    configured.bundle = configured.folder / "tampered.vedette"
    configured.bundle.write_bytes(content)
    configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    assert_start_fails(configured, call_vedette, 3, "tampered.vedette")


def test_bundle_of_untrusted_signer_exits_3(configured, line_images, call_vedette, tmp_path):
    configured.keys = tmp_path / "empty"
    configured.keys.mkdir()
    configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1")
    assert_start_fails(configured, call_vedette, 3, "unknown key", str(configured.keys))


def test_unwritable_state_folder_exits_4_after_running_in_memory(configured, run_vedette):
    (configured.folder / "state").write_text("a file where the folder should be")
    configured.amend("outbox", "drain = 0.1")
    done = run_vedette("run", "door", "--config", configured.folder)
    assert done.returncode == 4
    assert "events are stored in memory" in done.stderr
    assert "21 events waited in memory and are gone" in done.stderr
    assert "remedy" in done.stderr


def test_bundle_with_wrong_golden_outputs_exits_3(configured, line_images, call_vedette, anomaly_bundle, key_folder):
    """The signature is valid, but no back end reproduces the golden outputs, so none may run."""
    golden = np.load(io.BytesIO(anomaly_bundle.members["golden/score.npy"]))
    members = anomaly_bundle.members | bundle_writer.encode_golden_npy_members({"score": 255 - golden})
    _, content = bundle_writer.sign_bundle(
        anomaly_bundle.manifest, members, keys.read_private_key(key_folder / "vedette.key")
    )
    configured.bundle = configured.folder / "other.vedette"
    configured.bundle.write_bytes(content)
    for backend in ("auto", "onnx"):
        configured.configure(f"file:{line_images}?fps=0", "mqtt://127.0.0.1:1", backend=backend)
        assert_start_fails(configured, call_vedette, 3, "golden outputs are not reproduced by", "onnxruntime")
