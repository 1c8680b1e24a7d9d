"""A bundle that was touched in any way is refused, with exit code 3, before anything parses a model."""

from __future__ import annotations

import io
import zipfile

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from paths import TESTS

from vedette.compress.export import bundle_writer
from vedette.runtime.bundle import archive, keys
from vedette.runtime.bundle.bundle import MANIFEST, SIGNATURE, Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.errors import BundleProblem
from vedette.runtime.inference import heads
from vedette.runtime.inference.backends import available
from vedette.runtime.inference.golden_outputs import reproduces


@pytest.fixture
def members(built):
    return archive.unpack(built.bundle)


def refused(tmp_path, keyring, content, *words):
    path = tmp_path / "odd.vedette"
    path.write_bytes(content)
    with pytest.raises(BundleProblem) as caught:
        Bundle.open(path, keyring)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert any(word in caught.value.message for word in words), caught.value.message


def test_an_honest_bundle_opens(bundle):
    assert bundle.manifest.name == "weave"
    assert set(bundle.members) == set(bundle.manifest.files)
    assert set(bundle.manifest.models) == {"onnx", "tflite"}


def test_the_same_members_give_the_same_bytes(built, members):
    shuffled = dict(sorted(members.items(), reverse=True))
    assert archive.pack(shuffled) == built.bundle.read_bytes()


def test_the_signature_is_plain_ed25519_over_the_manifest(members, key_folder):
    public = keys.read_public(key_folder / "vedette.pub")
    public.verify(members[SIGNATURE], members[MANIFEST])


def test_a_flipped_bit_in_each_member_is_noticed(tmp_path, keyring, members):
    for name in members:
        touched = bytearray(members[name])
        touched[len(touched) // 2] ^= 1
        refused(
            tmp_path, keyring, archive.pack(members | {name: bytes(touched)}), name, "signature", "manifest", "signer"
        )


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "golden/image.npy", "report.html", MANIFEST, SIGNATURE])
def test_a_missing_member_is_noticed(tmp_path, keyring, members, name):
    del members[name]
    refused(tmp_path, keyring, archive.pack(members), name)


def test_an_extra_member_is_noticed(tmp_path, keyring, members):
    refused(tmp_path, keyring, archive.pack(members | {"more.bin": b"x"}), "more.bin")


def test_another_signer_is_not_trusted(tmp_path, keyring, bundle):
    _, forged = bundle_writer.sign(bundle.manifest, bundle.members, Ed25519PrivateKey.generate())
    refused(tmp_path, keyring, forged, "unknown key")


def test_a_signer_cannot_be_borrowed(tmp_path, keyring, members):
    """The manifest names a trusted key, but another one signed it."""
    forged = Ed25519PrivateKey.generate().sign(members[MANIFEST])
    refused(tmp_path, keyring, archive.pack(members | {SIGNATURE: forged}), "signature")


def test_a_newer_format_is_not_guessed_at(tmp_path, key_folder, keyring, members):
    private = keys.read_private(key_folder / "vedette.key")
    text = members[MANIFEST].replace(b'"format": 1', b'"format": 2')
    refused(tmp_path, keyring, archive.pack(members | {MANIFEST: text, SIGNATURE: private.sign(text)}), "format 2")


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", ".hidden", "a/b/c", "", "nul\0byte"]
)
def test_a_member_cannot_leave_the_bundle(tmp_path, keyring, members, name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for each, data in members.items():
            file.writestr(each, data)
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        file.writestr(entry, b"x")
    refused(tmp_path, keyring, content.getvalue(), "may not be called", "no member accounts", "not a bundle")


@pytest.mark.parametrize("change", ["prepend", "append", "truncate", "compress", "twice", "link", "empty", "text"])
def test_only_the_one_form_is_accepted(tmp_path, keyring, built, members, change):
    content = built.bundle.read_bytes()
    if change == "prepend":
        content = b"MZ" + content
    elif change == "append":
        content += b"more"
    elif change == "truncate":
        content = content[: len(content) // 2]
    elif change in ("compress", "twice", "link"):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED if change == "compress" else zipfile.ZIP_STORED) as file:
            for name in sorted(members):
                entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
                entry.external_attr = (0o120777 if change == "link" else 0o100644) << 16
                entry.compress_type = file.compression
                file.writestr(entry, members[name])
            if change == "twice":
                with pytest.warns(UserWarning, match="Duplicate"):
                    file.writestr("model.onnx", members["model.onnx"])
        content = buffer.getvalue()
    else:
        content = b"" if change == "empty" else b"hello"
    refused(tmp_path, keyring, content, "not a bundle", "no member accounts", "compressed", "twice")


def test_a_giant_is_refused_unread(tmp_path, keyring):
    path = tmp_path / "giant.vedette"
    with path.open("wb") as file:
        file.truncate(archive.MAX_BYTES + 1)
    with pytest.raises(BundleProblem, match="more than a bundle may have"):
        Bundle.open(path, keyring)


def test_keys_are_never_overwritten(tmp_path, vedette):
    first = vedette("keygen", tmp_path)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "vedette.key").stat().st_mode & 0o777 == 0o600
    kept = (tmp_path / "vedette.key").read_bytes()
    second = vedette("keygen", tmp_path)
    assert second.returncode == 2
    assert "never overwritten" in second.stderr
    assert (tmp_path / "vedette.key").read_bytes() == kept


def test_a_keyring_names_the_file_that_is_no_key(tmp_path):
    (tmp_path / "odd.pub").write_text("not a key")
    with pytest.raises(Exception, match=r"odd\.pub"):
        Keyring.read(tmp_path)


def test_goldens_are_what_the_models_give(bundle):
    assert bundle.golden("image").dtype == np.uint8
    assert len(bundle.golden("score")) == len(bundle.golden("image")) == len(bundle.golden("map"))


@pytest.mark.parametrize("folder", sorted((TESTS / "bundles").iterdir()), ids=lambda path: path.name)
def test_bundles_of_every_past_format_open_and_run(folder):
    """They were made once and lie on devices; whatever comes later must read them and compute the same."""
    bundle = Bundle.open(folder / "weave.vedette", Keyring.read(folder))
    for backend in available(bundle).values():
        assert reproduces(bundle, backend)
    assert heads.load(bundle.manifest)
