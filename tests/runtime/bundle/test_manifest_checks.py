"""A signed manifest whose values make no sense, or do not fit the members, is refused in one sentence."""

from __future__ import annotations

import io

import msgspec
import numpy as np
import pytest
from altered_bundles import sign_altered, stored_bundle

from vedette.runtime.bundle import archive
from vedette.runtime.bundle import bundle as bundle_module
from vedette.runtime.bundle.bundle import MANIFEST, SIGNATURE, Bundle
from vedette.runtime.bundle.npy_header import read_npy_shape
from vedette.runtime.errors import BundleProblem

MANIFEST_OF_WEAVE = stored_bundle().manifest
INPUT, OUTPUTS = MANIFEST_OF_WEAVE.input, MANIFEST_OF_WEAVE.outputs


def replaced(value, **changes):
    return msgspec.structs.replace(value, **changes)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"release": 0}, "release"),
        ({"release": -5}, "release"),
        ({"threshold": 1e308}, "threshold"),
        ({"threshold": 0.0}, "threshold"),
        ({"threshold": -1.0}, "threshold"),
        ({"name": "weave\nINFO all is well"}, "name"),
        ({"name": "../weave"}, "name"),
        ({"labels": ()}, "labels"),
        ({"labels": ("anomaly\x1b[2J",)}, "plain name"),
        ({"labels": ("anomaly", "anomaly")}, "twice"),
        ({"task": "classify"}, "outputs"),
        ({"task": "harvest"}, "task"),
        ({"task": "detect"}, "boxes"),
        ({"task": "behaviour"}, "motion"),
        ({"input": replaced(INPUT, std=0.0)}, "std"),
        ({"input": replaced(INPUT, std=-1.0)}, "std"),
        ({"input": replaced(INPUT, scale=0.0)}, "scale"),
        ({"input": replaced(INPUT, width=-1)}, "pixels"),
        ({"input": replaced(INPUT, width=60000, height=60000)}, "pixels"),
        ({"input": replaced(INPUT, width=32)}, "golden/image"),
        ({"input": replaced(INPUT, zero_point=300)}, "zero_point"),
        ({"outputs": ()}, "outputs"),
        ({"outputs": OUTPUTS[:1]}, "outputs"),
        ({"outputs": (replaced(OUTPUTS[0], shape=(1, 1, 1 << 20, 1 << 20)), OUTPUTS[1])}, "shape"),
        ({"outputs": (replaced(OUTPUTS[0], shape=(1, 1, 3, 3)), OUTPUTS[1])}, "golden/map"),
        ({"outputs": (replaced(OUTPUTS[0], scale=0.0), OUTPUTS[1])}, "scale"),
        ({"models": {"onnx": "other.onnx", "tflite": "model.tflite"}}, "other.onnx"),
        ({"models": {"tflite": "model.tflite"}}, "models"),
        ({"models": {"onnx": "model.onnx", "torch": "model.tflite"}}, "models"),
    ],
    ids=str,
)
def test_values_that_make_no_sense_are_refused(tmp_path, key_folder, keyring, changes, word):
    path = sign_altered(tmp_path / "altered.vedette", key_folder, **changes)
    with pytest.raises(BundleProblem, match=word) as caught:
        Bundle.open(path, keyring)
    assert str(path) in caught.value.message
    assert "\n" not in caught.value.message
    assert caught.value.hint


def npy(array, claimed=None):
    file = io.BytesIO()
    np.save(file, array)
    content = file.getvalue()
    return content if claimed is None else content.replace(str(array.shape).encode(), claimed.encode())


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x93NUMPY\x01\x00",
        npy(np.zeros((4, 64, 64, 3), np.float32)),
        npy(np.zeros((4, 32, 32, 3), np.uint8)),
        npy(np.zeros((0, 64, 64, 3), np.uint8)),
        npy(np.zeros((4, 64, 64, 3), np.uint8)) + b"more",
        npy(np.zeros((4, 64, 64, 3), np.uint8), claimed="(1000000000,1000)"),
        npy(np.zeros((4, 64, 64, 3), np.uint8), claimed="{[]: 1}"),
        npy(np.array([{}], object)),
    ],
)
def test_golden_members_that_do_not_fit_are_refused(tmp_path, key_folder, keyring, content):
    path = sign_altered(tmp_path / "altered.vedette", key_folder, {"golden/image.npy": content})
    with pytest.raises(BundleProblem, match="golden"):
        Bundle.open(path, keyring)


def test_shape_of_an_array_is_read_from_its_header():
    assert read_npy_shape(npy(np.zeros((4, 2, 3), np.uint8))) == (4, 2, 3)
    assert read_npy_shape(npy(np.zeros((), np.uint8))) == ()
    assert read_npy_shape(npy(np.asfortranarray(np.zeros((4, 2), np.uint8)))) is None


def test_a_stored_bundle_signed_anew_opens(tmp_path, key_folder, keyring):
    assert Bundle.open(sign_altered(tmp_path / "same.vedette", key_folder), keyring).manifest.name == "weave"


@pytest.mark.parametrize("signer", ["", '"signer": "0123456789abcdef", '])
def test_a_deeply_nested_manifest_is_refused(tmp_path, keyring, signer):
    text = f'{{{signer}"x": {"[" * 100_000}'.encode()
    path = tmp_path / "deep.vedette"
    path.write_bytes(archive.pack_archive({MANIFEST: text, SIGNATURE: bytes(64)}))
    with pytest.raises(BundleProblem):
        Bundle.open(path, keyring)


@pytest.mark.parametrize("text", ['{"format": 1, "x": ' + "[" * 100_000, '{"format": 1, "x": "\udc80"}', "{", "[]"])
def test_a_signed_manifest_that_is_none_is_refused(text):
    """The signer is read before; a text near the limit of depth passes there, and not here."""
    with pytest.raises(BundleProblem, match=r"manifest\.json"):
        bundle_module._decode_manifest(text.encode("utf-8", "surrogateescape"))
