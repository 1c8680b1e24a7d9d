"""Keys that this user may not read are told as that, and not as an unknown signer."""

from __future__ import annotations

import os

import pytest

from vedette.runtime.bundle import keys
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.errors import BundleProblem, ConfigProblem, Problem


@pytest.fixture
def closed(monkeypatch):
    """Makes paths unreadable, for root too."""
    paths = set()
    access = os.access
    monkeypatch.setattr(keys.os, "access", lambda path, mode: path not in paths and access(path, mode))
    return paths


@pytest.fixture
def ring(tmp_path, monkeypatch):
    """The system's folder of keys with one key."""
    folder = tmp_path / "keys"
    keys.generate_key_pair(folder)
    monkeypatch.setattr(keys, "SYSTEM_KEYRING", folder)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    return folder


def test_closed_folder_of_keys_is_told_with_the_remedy(ring, closed):
    signer = next(iter(Keyring.read().keys))
    closed.add(ring)
    with pytest.raises(BundleProblem, match=f"may not read {ring}") as caught:
        Keyring.read().verify(signer, b"", b"")
    assert "unknown" not in caught.value.message
    assert f"chmod -R a+rX {ring}" in caught.value.hint
    with pytest.raises(ConfigProblem, match="may not read"):
        Keyring.read(ring)


def test_closed_key_file_is_told_only_if_it_may_be_the_signers(ring, closed, tmp_path):
    signer = next(iter(Keyring.read().keys))
    keys.generate_key_pair(ring, "other")
    closed.add(ring / "other.pub")
    with pytest.raises(BundleProblem, match="signature does not match"):
        Keyring.read().verify(signer, b"", b"")
    closed.add(ring / "vedette.pub")
    with pytest.raises(Problem, match="may not read") as caught:
        Keyring.read().verify(signer, b"", b"")
    assert f"a+rX {ring}" in caught.value.hint


def test_really_unknown_signer_is_still_called_unknown(ring):
    with pytest.raises(BundleProblem, match="unknown key 0123"):
        Keyring.read().verify("0123", b"", b"")


def test_missing_folder_is_not_called_closed(tmp_path):
    with pytest.raises(ConfigProblem, match="no such folder"):
        Keyring.read(tmp_path / "nowhere")


def test_private_key_that_others_may_read_is_told(tmp_path, caplog):
    private, _ = keys.generate_key_pair(tmp_path)
    keys.read_private_key(private)
    assert not caplog.text
    private.chmod(0o644)
    keys.read_private_key(private)
    assert f"chmod o= {private}" in caplog.text
