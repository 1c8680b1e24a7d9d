"""A password in clear and an open secret file are told at the start."""

from __future__ import annotations

import os

import msgspec
import pytest

from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.credential_warnings import describe_open_file, list_warnings


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text("")
    (tmp_path / "cameras" / "door.toml").write_text("source='file:x'\nbundle='x'\n[[rules]]\nuse='presence'\n")
    return load_config(tmp_path, "door")


@pytest.mark.parametrize(
    ("url", "password", "told"),
    [
        ("mqtt://broker.local:1883", True, True),
        ("mqtt://192.168.1.5", True, True),
        ("mqtt://[2001:db8::1]:1883", True, True),
        ("mqtt://broker.local:1883", False, False),
        ("mqtts://broker.local:8883", True, False),
        ("mqtt://localhost:1883", True, False),
        ("mqtt://127.0.0.5", True, False),
        ("mqtt://[::1]:1883", True, False),
        ("stdout:", True, False),
    ],
)
def test_password_in_clear_to_another_host_is_told(settings, tmp_path, url, password, told):
    secret = tmp_path / "password"
    secret.write_text("hunter2")
    secret.chmod(0o600)
    broker = msgspec.structs.replace(
        settings.broker, url=url, username="box", password_file=str(secret) if password else ""
    )
    warnings = list_warnings(msgspec.structs.replace(settings, broker=broker))
    assert bool(warnings) is told
    if told:
        assert "mqtts://" in warnings[0]
        assert "hunter2" not in warnings[0]


@pytest.mark.parametrize(("mode", "told"), [(0o600, False), (0o400, False), (0o604, True), (0o644, True)])
def test_secret_file_that_others_may_read_is_told(settings, tmp_path, mode, told):
    key = tmp_path / "box.key"
    key.write_text("key")
    key.chmod(mode)
    broker = msgspec.structs.replace(settings.broker, key_file=str(key))
    warnings = list_warnings(msgspec.structs.replace(settings, broker=broker))
    assert bool(warnings) is told
    if told:
        assert f"chmod o= {key}" in warnings[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to give a file away")
def test_group_may_read_what_root_gives_it(tmp_path):
    key = tmp_path / "box.key"
    key.write_text("key")
    key.chmod(0o640)
    os.chown(key, 0, 65534)
    assert describe_open_file(key) == ""
    os.chown(key, 65534, 65534)
    assert "chmod g=" in describe_open_file(key)
    assert describe_open_file(tmp_path / "nowhere") == ""
