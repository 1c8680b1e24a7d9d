"""Keys can be limited to products and revoked; keyrings without such rules stay as they were."""

from __future__ import annotations

import json
import shutil

import pytest
from altered_bundles import STORED, sign_altered

from vedette.runtime.bundle import key_rules, keys
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.errors import BundleProblem, ConfigProblem


@pytest.fixture
def ring(tmp_path, key_folder):
    """A keyring of the device with the signer's public key."""
    folder = tmp_path / "keyring"
    folder.mkdir()
    shutil.copy(key_folder / "vedette.pub", folder)
    return folder


@pytest.fixture
def signed(tmp_path, key_folder):
    return sign_altered(tmp_path / "weave.vedette", key_folder)


def key_of(folder):
    return keys.key_id(keys.read_public_key(folder / "vedette.pub"))


def limit(ring, line):
    path = ring / "vedette.pub"
    path.write_bytes(line + path.read_bytes())


def test_keyrings_without_rules_are_not_limited(ring, signed):
    assert Bundle.open(signed, Keyring.read(ring)).manifest.name == "weave"
    assert Keyring.read(STORED).revoked == {}


@pytest.mark.parametrize(
    ("line", "opens"),
    [
        (b"Products: weave\n", True),
        (b"# a comment\nProducts: cells, weave\r\n", True),
        (b"Products: cells\n", False),
        (b"Products: weaves\nProducts: weav\n", False),
    ],
)
def test_a_limited_key_signs_only_its_products(ring, signed, line, opens):
    limit(ring, line)
    keyring = Keyring.read(ring)
    if opens:
        Bundle.open(signed, keyring)
        return
    with pytest.raises(BundleProblem, match="not weave"):
        Bundle.open(signed, keyring)


@pytest.mark.parametrize("line", [b"Products:\n", b"Products: *\n", b"Products: a,,b\n", b"Products: \xff\n"])
def test_a_limit_that_names_no_product_is_no_limit_by_mistake(ring, line):
    limit(ring, line)
    with pytest.raises(ConfigProblem, match=r"vedette\.pub"):
        Keyring.read(ring)


def test_of_two_files_of_one_key_the_limited_one_holds(ring, signed):
    shutil.copy(ring / "vedette.pub", ring / "zzz.pub")
    limit(ring, b"Products: cells\n")
    with pytest.raises(BundleProblem, match="not weave"):
        Bundle.open(signed, Keyring.read(ring))


def test_a_revoked_key_is_refused_with_the_reason(ring, signed):
    key_rules.revoke(ring, key_of(ring), "laptop\nstolen")
    with pytest.raises(BundleProblem, match=r"revoked \(laptop stolen\)"):
        Bundle.open(signed, Keyring.read(ring))


@pytest.mark.parametrize("content", [b"not a key id\n", b"0123\n", b"\xff\xfe\n"])
def test_a_damaged_list_of_revoked_keys_is_an_error(ring, content):
    (ring / key_rules.REVOKED_FILE).write_bytes(content)
    with pytest.raises(ConfigProblem, match="revoked"):
        Keyring.read(ring)


def test_comments_and_empty_lines_in_the_list_are_ignored(ring):
    (ring / key_rules.REVOKED_FILE).write_text("\ufeff# old keys\n\n0123456789abcdef\n")
    assert set(Keyring.read(ring).revoked) == {"0123456789abcdef"}


def test_commands_trust_limit_revoke_and_list(tmp_path, key_folder, signed, call_vedette):
    ring, key = tmp_path / "new" / "keyring", key_of(key_folder)

    def run(*arguments, code=0):
        done = call_vedette("keys", *arguments, "--keys", ring)
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def show():
        return call_vedette("show", signed, "--keys", ring)

    run("trust", key_folder / "vedette.pub", "--product", "cells")
    assert show().returncode == 3
    run("trust", key_folder / "vedette.pub", "--product", "cells", "--product", "weave")
    assert show().returncode == 0
    assert len(list(ring.glob("*.pub"))) == 1
    assert "trusted for cells, weave" in run("list")
    run("trust", key_folder / "vedette.pub", "--product", "a b", code=2)
    run("trust", key_folder / "vedette.key", code=2)
    run("revoke", key_folder / "vedette.pub", "--reason", "left the company")
    run("revoke", "fedcba9876543210")
    run("revoke", "nonsense", code=2)
    assert show().returncode == 3
    assert "left the company" in show().stderr
    (row, unknown) = json.loads(run("list", "--json"))
    assert (row["key"], row["trusted"], row["products"]) == (key, False, ["cells", "weave"])
    assert row["revoked"]["reason"] == "left the company"
    assert (unknown["key"], unknown["trusted"]) == ("fedcba9876543210", False)
    assert "revoked" in run("trust", key_folder / "vedette.pub", code=2)


def test_trust_keeps_another_key_of_the_same_file_name(tmp_path, key_folder, call_vedette):
    keys.generate_key_pair(tmp_path / "ring")
    done = call_vedette("keys", "trust", key_folder / "vedette.pub", "--keys", tmp_path / "ring")
    assert done.returncode == 0, done.stderr
    assert set(Keyring.read(tmp_path / "ring").keys) == {key_of(tmp_path / "ring"), key_of(key_folder)}


def test_private_key_is_told_as_that(key_folder):
    with pytest.raises(ConfigProblem, match="a private key, where a public one is wanted"):
        keys.read_public_key(key_folder / "vedette.key")
