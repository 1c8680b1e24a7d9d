"""An altered bundle is refused before a model is parsed."""

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
from vedette.runtime.inference.backends import available_backends
from vedette.runtime.inference.golden_outputs import reproduces_golden_outputs


@pytest.fixture
def members(anomaly_build):
    return archive.unpack_archive(anomaly_build.bundle)


def assert_refused(tmp_path, keyring, content, *words):
    path = tmp_path / "altered.vedette"
    path.write_bytes(content)
    with pytest.raises(BundleProblem) as caught:
        Bundle.open(path, keyring)
    assert str(path) in caught.value.message
    assert caught.value.hint
    assert any(word in caught.value.message for word in words), caught.value.message


def test_unaltered_bundle_opens(anomaly_bundle):
    assert anomaly_bundle.manifest.name == "weave"
    assert set(anomaly_bundle.members) == set(anomaly_bundle.manifest.files)
    assert set(anomaly_bundle.manifest.models) == {"onnx", "tflite"}


def test_archive_bytes_are_reproducible(anomaly_build, members):
    shuffled = dict(sorted(members.items(), reverse=True))
    assert archive.pack_archive(shuffled) == anomaly_build.bundle.read_bytes()


def test_signature_is_ed25519_over_manifest_bytes(members, key_folder):
    public = keys.read_public_key(key_folder / "vedette.pub")
    public.verify(members[SIGNATURE], members[MANIFEST])


def test_flipped_bit_in_any_member_is_detected(tmp_path, keyring, members):
    for name in members:
        altered = bytearray(members[name])
        altered[len(altered) // 2] ^= 1
        assert_refused(
            tmp_path,
            keyring,
            archive.pack_archive(members | {name: bytes(altered)}),
            name,
            "signature",
            "manifest",
            "signer",
        )


@pytest.mark.parametrize("name", ["model.onnx", "model.tflite", "golden/image.npy", "report.html", MANIFEST, SIGNATURE])
def test_missing_member_is_detected(tmp_path, keyring, members, name):
    del members[name]
    assert_refused(tmp_path, keyring, archive.pack_archive(members), name)


def test_extra_member_is_detected(tmp_path, keyring, members):
    assert_refused(tmp_path, keyring, archive.pack_archive(members | {"more.bin": b"x"}), "more.bin")


def test_untrusted_signer_is_refused(tmp_path, keyring, anomaly_bundle):
    _, forged = bundle_writer.sign_bundle(anomaly_bundle.manifest, anomaly_bundle.members, Ed25519PrivateKey.generate())
    assert_refused(tmp_path, keyring, forged, "unknown key")


def test_signature_must_match_the_named_signer(tmp_path, keyring, members):
    """The manifest names a trusted key, but another key has signed it."""
    forged = Ed25519PrivateKey.generate().sign(members[MANIFEST])
    assert_refused(tmp_path, keyring, archive.pack_archive(members | {SIGNATURE: forged}), "signature")


def test_newer_manifest_format_is_refused(tmp_path, key_folder, keyring, members):
    private = keys.read_private_key(key_folder / "vedette.key")
    text = members[MANIFEST].replace(b'"format": 1', b'"format": 2')
    assert_refused(
        tmp_path, keyring, archive.pack_archive(members | {MANIFEST: text, SIGNATURE: private.sign(text)}), "format 2"
    )


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "a/../../evil", "a\\evil", ".hidden", "a/b/c", "", "nul\0byte"]
)
def test_member_names_with_unsafe_paths_are_refused(tmp_path, keyring, members, name):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as file:
        for each, data in members.items():
            file.writestr(each, data)
        entry = zipfile.ZipInfo("placeholder")
        entry.filename = name
        file.writestr(entry, b"x")
    assert_refused(tmp_path, keyring, content.getvalue(), "invalid member name", "outside its members", "not a bundle")


@pytest.mark.parametrize("change", ["prepend", "append", "truncate", "compress", "twice", "link", "empty", "text"])
def test_only_the_canonical_archive_form_is_accepted(tmp_path, keyring, anomaly_build, members, change):
    content = anomaly_build.bundle.read_bytes()
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
    assert_refused(tmp_path, keyring, content, "not a bundle", "outside its members", "compressed", "duplicate")


def test_oversized_file_is_refused_without_reading_it(tmp_path, keyring):
    path = tmp_path / "oversized.vedette"
    with path.open("wb") as file:
        file.truncate(archive.MAX_BYTES + 1)
    with pytest.raises(BundleProblem, match="exceed the limit"):
        Bundle.open(path, keyring)


def test_keys_are_never_overwritten(tmp_path, call_vedette):
    first = call_vedette("keygen", tmp_path)
    assert first.returncode == 0, first.stderr
    assert (tmp_path / "vedette.key").stat().st_mode & 0o777 == 0o600
    key = (tmp_path / "vedette.key").read_bytes()
    second = call_vedette("keygen", tmp_path)
    assert second.returncode == 2
    assert "never overwritten" in second.stderr
    assert (tmp_path / "vedette.key").read_bytes() == key


def test_keyring_error_names_the_invalid_key_file(tmp_path):
    (tmp_path / "invalid.pub").write_text("not a key")
    with pytest.raises(Exception, match=r"invalid\.pub"):
        Keyring.read(tmp_path)


def test_golden_inputs_and_outputs_have_equal_length(anomaly_bundle):
    assert anomaly_bundle.golden("image").dtype == np.uint8
    assert (
        len(anomaly_bundle.golden("score")) == len(anomaly_bundle.golden("image")) == len(anomaly_bundle.golden("map"))
    )


@pytest.mark.parametrize("folder", sorted((TESTS / "bundles").iterdir()), ids=lambda path: path.name)
def test_bundles_of_every_past_format_still_run(folder):
    """Backward compatibility: stored bundles of older releases open and reproduce their golden outputs."""
    bundle = Bundle.open(folder / "weave.vedette", Keyring.read(folder))
    for backend in available_backends(bundle).values():
        assert reproduces_golden_outputs(bundle, backend)
    assert heads.load_head(bundle.manifest)
