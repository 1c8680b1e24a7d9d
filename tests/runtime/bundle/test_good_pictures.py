"""The pictures of good parts in a bundle: chosen by a real build, bounded, and found again."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np
import pytest

from vedette.compress.build import BuildResult
from vedette.compress.data.good_pictures import MAX_SIDE, cover
from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.good_pictures import GoodPictures, correlate, shrink
from vedette.runtime.bundle.manifest import MemberDigest
from vedette.runtime.bundle.manifest_checks import check_manifest
from vedette.runtime.errors import BundleProblem
from vedette.runtime.inference.preprocess import Preprocess


def test_build_packs_pictures_of_the_images_that_it_fitted_to(
    anomaly_bundle: Bundle, anomaly_build: BuildResult
) -> None:
    manifest, pictures = anomaly_bundle.manifest, GoodPictures(anomaly_bundle)
    assert manifest.pictures == tuple(f"good/{number:02}.jpg" for number in range(6))
    preprocess = Preprocess.from_bundle(anomaly_bundle)
    views = [preprocess(cv2.imread(str(path)))[0] for path in anomaly_build.split.fit]
    fitted = np.stack([shrink(view).ravel() for view in views])
    for name, cells in zip(manifest.pictures, pictures.cells, strict=True):
        shown = cv2.imdecode(np.frombuffer(anomaly_bundle.members[name], np.uint8), cv2.IMREAD_COLOR)
        assert max(shown.shape[:2]) <= MAX_SIDE
        assert len(anomaly_bundle.members[name]) < 16_000
        assert correlate(fitted, cells.ravel()).max() > 0.98, "it is one of the images of the part fit"


def test_defect_does_not_decide_which_picture_is_the_nearest(
    anomaly_bundle: Bundle, anomaly_build: BuildResult
) -> None:
    pictures = GoodPictures(anomaly_bundle)
    for name, content in zip(pictures.names, pictures.contents, strict=True):
        view = cv2.cvtColor(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        unusual = np.zeros((12, 12), np.bool_)
        unusual[3:9, 3:9] = True
        side = view.shape[0]
        view[side // 4 : 3 * side // 4, side // 4 : 3 * side // 4] = (255, 0, 128)
        found = pictures.find_nearest(view, unusual)
        assert found is not None
        assert (found.name, found.content) == (name, content)
        assert found.likeness > 0.95
        everything = pictures.find_nearest(view, np.ones((12, 12), np.bool_))
        assert everything is not None
        assert everything.likeness < 0.9, "if nearly all is unusual, all cells count"


def test_pictures_are_typical_and_no_outliers() -> None:
    """Two kinds of parts, 20 and 10, and one that is like no other: each kind has a picture before it has one."""
    likeness = np.full((31, 31), 0.1, np.float32)
    likeness[:20, :20], likeness[20:30, 20:30] = 0.8, 0.8
    np.fill_diagonal(likeness, 1.0)
    first, second, third = cover(likeness, 3)
    assert first < 20 <= second < 30
    assert third == 30
    assert len(cover(likeness, 99)) == 31


@pytest.mark.parametrize(
    ("files", "names", "said"),
    [
        ({}, ("good/99.jpg",), "is no member"),
        ({"good/00.jpg": MemberDigest("0" * 64, 70_000)}, ("good/00.jpg",), "70000 bytes"),
        ({}, ("model.onnx",) * 33, "33 pictures"),
    ],
)
def test_pictures_that_no_build_writes_are_refused(
    anomaly_bundle: Bundle, files: dict[str, MemberDigest], names: tuple[str, ...], said: str
) -> None:
    manifest = anomaly_bundle.manifest
    altered = msgspec.structs.replace(manifest, pictures=names, files=manifest.files | files)
    with pytest.raises(BundleProblem, match=said):
        check_manifest(altered, anomaly_bundle.members)


def test_picture_that_cannot_be_decoded_is_told(anomaly_bundle: Bundle) -> None:
    members = anomaly_bundle.members | {"good/03.jpg": b"no picture"}
    altered = Bundle(anomaly_bundle.path, anomaly_bundle.manifest, members, anomaly_bundle.manifest_sha256)
    with pytest.raises(BundleProblem, match=r"good/03\.jpg is no picture"):
        GoodPictures(altered)
