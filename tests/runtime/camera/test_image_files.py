"""Finding and reading images: through links, by one rule for the depth of pixels, and what cannot be read is told."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from PIL import Image

from vedette.runtime.camera import folder_search, image_files
from vedette.runtime.errors import ConfigProblem

GREY = np.random.default_rng(0).integers(30, 226, (20, 30), np.uint8)


def names(paths, folder):
    return [path.relative_to(folder).as_posix() for path in paths]


def write(path, pixels=GREY):
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), pixels)
    return path


def test_linked_folders_are_searched_and_no_image_counts_twice(tmp_path):
    good = tmp_path / "good"
    write(good / "a.png")
    write(good / "sub" / "b.png")
    write(tmp_path / "nas" / "deep" / "c.png")
    (good / "batch").symlink_to("../nas")
    (good / "again").symlink_to("../nas/deep")
    (good / "circle").symlink_to(".")
    (good / "00-sub").symlink_to("sub")
    (tmp_path / "nas" / "up").symlink_to("../good")
    (good / "broken").symlink_to("../nothing")
    (good / "itself").symlink_to("itself")
    (good / "d.png").symlink_to("../nas/deep/c.png")
    assert names(image_files.find_images(good), good) == ["a.png", "again/c.png", "d.png", "sub/b.png"]


def test_folder_without_images_says_what_it_skipped(tmp_path):
    for name in ("1.HEIC", "2.heic", "3.jfif", ".DS_Store", "4"):
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigProblem, match=r"no images in it \(2 \.heic, 1 \.jfif, 1 without an ending skipped\)"):
        image_files.find_images(tmp_path)
    assert folder_search.describe_skipped([]) == ""


@pytest.mark.parametrize("suffix", ["png", "tif", "pgm"])
@pytest.mark.parametrize(("factor", "bits"), [(1, 8), (16, 12), (256, 16)])
def test_depth_keeps_all_levels(tmp_path, suffix, factor, bits):
    """The values of 12 and of 16 bits are those of 8 bits, with more digits behind."""
    pixels = GREY if factor == 1 else GREY.astype(np.uint16) * factor + np.uint16(factor - 1)
    path = write(tmp_path / f"x.{suffix}", pixels)
    read, found = image_files.read_image_and_depth(path)
    assert found == bits
    assert read.dtype == np.uint8
    assert np.array_equal(read, np.repeat(GREY[..., None], 3, axis=2))
    assert np.array_equal(image_files.read_image(path, cv2.IMREAD_GRAYSCALE), GREY)


def test_mask_keeps_its_depth(tmp_path):
    path = write(tmp_path / "mask.png", np.full((4, 4), 1, np.uint16))
    assert image_files.read_image(path, cv2.IMREAD_UNCHANGED).max() == 1


@pytest.mark.parametrize("kind", [np.float32, np.int32])
@pytest.mark.parametrize("highest", [1, 255])
def test_depth_that_says_nothing_of_black_and_white_is_refused(tmp_path, kind, highest):
    path = tmp_path / "x.tif"
    Image.fromarray((GREY / 255 * highest).astype(kind)).save(path)
    with pytest.raises(ConfigProblem, match=f"its pixels are {np.dtype(kind)} numbers") as problem:
        image_files.read_image(path)
    assert "8 or 16 bits" in str(problem.value.hint)
