"""A wrong file is answered with what is wrong, where, and what to do."""

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


def test_a_right_one_loads_with_absolute_paths(folder):
    loaded = configuration.load(folder, "door")
    assert loaded.bundle == folder / "cameras" / "x.vedette"
    assert loaded.state == folder / "state"
    assert loaded.broker.prefix == "vedette"


WRONG = [
    ("vedette.toml", DEVICE + "colour = 1\n", "colour", "broker.url"),
    ("vedette.toml", DEVICE.replace("name", "nmae"), "nmae", "device.name"),
    ("vedette.toml", DEVICE.replace('"box"', "7"), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '"a/b"'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '"box\\n"'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE.replace('"box"', '".."'), "$.device.name", "docs/config.md"),
    ("vedette.toml", DEVICE + 'prefix = "a/#"\n', "$.broker.prefix", "docs/config.md"),
    ("vedette.toml", DEVICE + "keepalive = 1\n", "$.broker.keepalive", "docs/config.md"),
    ("vedette.toml", "[device\n", "not TOML", "mend"),
    ("vedette.toml", b"\xff\xfe", "not TOML", "mend"),
    ("vedette.toml", None, "No such file", "docs/config.md"),
    ("cameras/door.toml", None, "No such file", "docs/config.md"),
    ("cameras/door.toml", CAMERA.replace("source", "sauce"), "sauce", "known keys"),
    ("cameras/door.toml", CAMERA.replace('bundle = "x.vedette"\n', ""), "bundle", "known keys"),
    ("cameras/door.toml", "threads = 0\n" + CAMERA, "threads", "docs/config.md"),
    ("cameras/door.toml", CAMERA.split("[[", maxsplit=1)[0] + "rules = []\n", "no rules", "presence"),
]


@pytest.mark.parametrize(("name", "text", "said", "remedy"), WRONG)
def test_a_wrong_one_is_explained(folder, name, text, said, remedy):
    path = folder / name
    if text is None:
        path.unlink()
    else:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigProblem) as caught:
        configuration.load(folder, "door")
    assert str(path) in caught.value.message
    assert said in caught.value.message
    assert remedy in caught.value.hint
    assert caught.value.code == 2


@pytest.mark.parametrize("name", ["../vedette", "..", "a b", "door\n", ""])
def test_a_camera_cannot_be_a_path(folder, name):
    with pytest.raises(ConfigProblem, match="camera"):
        configuration.load(folder, name)


# The daemon as its user meets it: exit code, one message, one remedy, nothing started.


@pytest.fixture
def ready(device, line):
    device.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    return device


def fails(device, vedette, code, *words):
    done = vedette("run", "door", "--config", device.folder)
    assert done.returncode == code, done.stderr
    message, remedy = done.stderr.strip().splitlines()[-2:]
    assert message.startswith("vedette: ")
    assert remedy.startswith("  remedy: ")
    for word in words:
        assert word in done.stderr
    assert "Traceback" not in done.stderr
    assert not device.outbox.exists()


def test_a_wrong_key_exits_2(ready, vedette):
    path = ready.folder / "cameras" / "door.toml"
    path.write_text("colour = 1\n" + path.read_text())
    fails(ready, vedette, 2, str(path), "colour")


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
def test_a_wrong_rule_exits_2(ready, line, vedette, rule, word):
    ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1", rule)
    fails(ready, vedette, 2, "door.toml: rules[", word)


@pytest.mark.parametrize(
    ("source", "word"),
    [
        ("file:nowhere", "nowhere"),
        ("tape:x", "known are file"),
        ("file:x?speed=2", "speed"),
        ("file:x?fps=-1", "fps"),
        ("file:x?fps=nan", "fps"),
        ("file:x?fps=inf", "fps"),
        ("file://[x", "source"),
    ],
)
def test_a_wrong_source_exits_2(ready, vedette, source, word):
    ready.configure(source, "mqtt://127.0.0.1:1")
    fails(ready, vedette, 2, word)


@pytest.mark.parametrize(
    "url", ["pigeon://roof", "mqtt://", "mqtt://host:port", "mqtt://[bad", "mqtt://.bad.:1", "mqtt://bob:secret@host"]
)
def test_a_wrong_broker_exits_2(ready, line, vedette, url):
    ready.configure(f"file:{line}?fps=0", url)
    fails(ready, vedette, 2, "vedette.toml", "broker.url")
    assert "secret" not in vedette("run", "door", "--config", ready.folder).stderr


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("[tracker]\nkeeep = 3.0\n", ("door.toml", "keeep", "tracker.keep")),
        ("[tracker]\niou = 1.5\n", ("door.toml", "tracker.iou")),
        ("[tracker]\nconfirm = 0\n", ("door.toml", "tracker.confirm")),
    ],
)
def test_a_wrong_tracker_exits_2(ready, vedette, table, words):
    path = ready.folder / "cameras" / "door.toml"
    path.write_text(path.read_text().replace("[[rules]]", table + "[[rules]]"))
    fails(ready, vedette, 2, *words)


@pytest.mark.parametrize("zone", ["Mars/Olympus", "../../etc/passwd", "Europe"])
def test_a_wrong_time_zone_exits_2(ready, vedette, zone):
    ready.amend("device", f'timezone = "{zone}"')
    fails(ready, vedette, 2, "vedette.toml: device.timezone", zone)


def test_an_unknown_rule_or_backend_exits_2(ready, line, vedette):
    path = ready.folder / "cameras" / "door.toml"
    path.write_text(path.read_text().replace('"presence"', '"absence"'))
    fails(ready, vedette, 2, "absence", "known are crossing, crowd")
    ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1", backend="abacus")
    fails(ready, vedette, 2, "abacus", "known are onnx, tflite")


def test_a_part_is_named_by_a_string(ready, vedette):
    path = ready.folder / "cameras" / "door.toml"
    path.write_text(path.read_text().replace('"presence"', '["presence"]'))
    fails(ready, vedette, 2, "rules[0]", "known are crossing, crowd")


@pytest.mark.parametrize("content", [None, b"\xff\xfe"])
def test_a_password_that_cannot_be_read_exits_2(ready, vedette, content):
    path = ready.folder / "vedette.toml"
    path.write_text(path.read_text() + 'username = "u"\npassword_file = "secret"\n')
    if content is not None:
        (ready.folder / "secret").write_bytes(content)
    fails(ready, vedette, 2, "password_file", str(ready.folder / "secret"))


def test_a_missing_bundle_exits_3(ready, line, vedette):
    ready.bundle = ready.folder / "gone.vedette"
    ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    fails(ready, vedette, 3, "gone.vedette")


def test_a_tampered_bundle_exits_3(ready, line, vedette):
    content = bytearray(ready.bundle.read_bytes())
    content[content.index(b"model.onnx") + 5000] ^= 1
    ready.bundle = ready.folder / "odd.vedette"
    ready.bundle.write_bytes(content)
    ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    fails(ready, vedette, 3, "odd.vedette")


def test_an_untrusted_bundle_exits_3(ready, line, vedette, tmp_path):
    ready.keys = tmp_path / "empty"
    ready.keys.mkdir()
    ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1")
    fails(ready, vedette, 3, "unknown key", str(ready.keys))


def test_a_folder_that_cannot_be_written_exits_4(ready, vedette):
    (ready.folder / "state").write_text("a file where the folder should be")
    ready.amend("outbox", "drain = 0.1")
    done = vedette("run", "door", "--config", ready.folder)
    assert done.returncode == 4
    assert "events wait in memory" in done.stderr, "it goes on as well as it can"
    assert "21 events waited in memory and are gone" in done.stderr
    assert "remedy" in done.stderr


def test_a_bundle_that_this_machine_computes_otherwise_exits_3(ready, line, vedette, bundle, key_folder):
    """Signed and whole, but its golden outputs are another model's: no back end that gives other scores may run."""
    golden = np.load(io.BytesIO(bundle.members["golden/score.npy"]))
    members = bundle.members | bundle_writer.golden({"score": 255 - golden})
    _, content = bundle_writer.sign(bundle.manifest, members, keys.read_private(key_folder / "vedette.key"))
    ready.bundle = ready.folder / "other.vedette"
    ready.bundle.write_bytes(content)
    for backend in ("auto", "onnx"):
        ready.configure(f"file:{line}?fps=0", "mqtt://127.0.0.1:1", backend=backend)
        fails(ready, vedette, 3, "golden outputs are not reproduced by", "onnxruntime")
