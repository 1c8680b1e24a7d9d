"""The audit finds planted faults, reports nothing else, and a build uses its result."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from paths import SHARED
from PIL import Image

from vedette.compress.data import groups, kept_images_csv, labeled_images, split
from vedette.compress.data.audit import audit_images, labels_from_folders, near_duplicates
from vedette.compress.data.audit.sample_size import SampleSize
from vedette.compress.goal.goal_tables import DataSettings
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.progress import no_progress


def audit_folder(path, group=None):
    images, folders = labels_from_folders.read_folder_layout(path)
    return audit_images(images, folders, groups.assign_groups(images, folders, group, Path()), path)


def files_of_kind(report, kind):
    return {report.relative_name(each.file) for each in report.findings if each.kind == kind}


def scene(seed, size=200):
    """An image unlike any other: blobs of color with stripes and the noise of a camera."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(20, 235, (6, 6, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    lines = coarse + 40 * (np.indices((size, size)).sum(axis=0) % 16 < 8)[..., None]
    return (lines + rng.normal(0, 6, (size, size, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Forty good and twelve defective images, and one or more faults of every kind that the audit finds."""
    path = tmp_path_factory.mktemp("planted")
    good, defect = path / "good", path / "defect"
    for label, count, first in ((good, 40, 0), (defect, 12, 100)):
        label.mkdir()
        for number in range(count):
            cv2.imwrite(str(label / f"{number:03d}.png"), scene(first + number))
    shutil.copy(defect / "003.png", good / "copy.png")
    cv2.imwrite(str(good / "same.bmp"), scene(5))
    cv2.imwrite(str(good / "again.jpg"), scene(7), [cv2.IMWRITE_JPEG_QUALITY, 80])
    cv2.imwrite(str(good / "blurred.png"), cv2.GaussianBlur(scene(201), (0, 0), 3))
    cv2.imwrite(str(good / "dark.png"), scene(202) // 8)
    cv2.imwrite(str(good / "small.png"), scene(203, size=150))
    cv2.imwrite(str(good / "grey.png"), scene(204)[..., 0])
    cv2.imwrite(str(good / "alpha.png"), np.dstack([scene(205), np.full((200, 200), 99, np.uint8)]))
    cv2.imwrite(str(good / "deep.png"), scene(206).astype(np.uint16) * 257)
    jpeg = cv2.imencode(".jpg", scene(0))[1].tobytes()
    (good / "half.jpg").write_bytes(jpeg[: len(jpeg) // 2])
    (good / "nearly.jpg").write_bytes(jpeg[:-2])
    (good / "half.png").write_bytes((good / "000.png").read_bytes()[:4000])
    (good / "nothing.png").write_bytes(b"")
    (good / "words.png").write_bytes(b"not a picture")
    cv2.imwrite(str(good / "black.png"), np.zeros((200, 200, 3), np.uint8))
    return path


@pytest.fixture(scope="module")
def report(planted):
    return audit_folder(planted)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("unreadable", {"good/words.png"}),
        ("truncated", {"good/half.jpg", "good/nearly.jpg", "good/half.png"}),
        ("empty", {"good/nothing.png", "good/black.png"}),
        ("near_duplicate", {"good/again.jpg"}),
        ("blur", {"good/blurred.png"}),
        ("exposure", {"good/dark.png"}),
        ("size", {"good/small.png"}),
        ("colour", {"good/grey.png", "good/alpha.png", "good/deep.png"}),
    ],
)
def test_planted_faults_are_found_and_nothing_else(report, kind, names):
    assert files_of_kind(report, kind) == names


def test_copy_with_another_label_breaks_a_build_and_a_plain_copy_does_not(report):
    by_name = {report.relative_name(each.file): each for each in report.findings if each.kind == "duplicate"}
    across = by_name.pop("good/copy.png", None) or by_name.pop("defect/003.png")
    assert across.breaks
    assert "labelled" in across.why
    (within,) = by_name.values()
    assert not within.breaks
    assert {report.relative_name(path) for path in (within.file, *within.others)} == {"good/same.bmp", "good/005.png"}


def test_findings_that_break_a_build_leave_images_out(report):
    assert {report.relative_name(path) for path in report.left_out} == {
        *("good/half.jpg", "good/nearly.jpg", "good/half.png", "good/nothing.png", "good/words.png", "good/black.png"),
        *("good/copy.png", "defect/003.png"),
    }


def test_png_with_a_wrong_checksum_is_unusable(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), scene(number))
    data = bytearray((tmp_path / "1.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "1.png").write_bytes(data)
    assert {path.name for path in audit_folder(tmp_path).left_out} == {"1.png"}


@pytest.fixture(scope="module")
def two_kinds(tmp_path_factory):
    """Stripes and scenes in one folder each; one image of each kind lies in the wrong folder."""
    path = tmp_path_factory.mktemp("kinds")
    for label in ("plain", "colourful"):
        (path / label).mkdir()
    for number in range(24):
        rng = np.random.default_rng(number)
        stripes = 120 + 60 * np.sin(np.arange(200)[:, None] / rng.uniform(3, 9) + np.zeros((1, 200)))
        plain = (stripes[..., None] + rng.normal(0, 5, (200, 200, 1)) + np.array([0, 4, 9])).clip(0, 255)
        cv2.imwrite(str(path / ("colourful" if number == 0 else "plain") / f"a{number:02d}.png"), plain)
        cv2.imwrite(str(path / ("plain" if number == 1 else "colourful") / f"b{number:02d}.png"), scene(number))
    return path


def test_mislabelled_images_are_found(two_kinds):
    assert files_of_kind(audit_folder(two_kinds), "label") == {"colourful/a00.png", "plain/b01.png"}


def test_label_with_few_images_is_one_finding(tmp_path):
    for label, count in (("many", 12), ("few", 2)):
        (tmp_path / label).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), scene(10 * count + number))
    (short,) = (each for each in audit_folder(tmp_path).findings if each.kind == "imbalance")
    assert (short.file, short.label) == (tmp_path / "few", "few")


def test_file_name_that_is_not_utf8_is_reported_with_escapes(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene(1))
    (tmp_path / "a.png").rename(tmp_path / b"caf\xe9.png".decode(errors="surrogateescape"))
    (finding,) = audit_folder(tmp_path).to_dict()["findings"]
    assert finding["file"] == "caf\\xe9.png"
    json.dumps(finding).encode()


# The command


@pytest.mark.build
def test_audit_command_writes_json_page_and_keep_list(planted, tmp_path, call_vedette):
    page, clean = tmp_path / "page.html", tmp_path / "clean.csv"
    before = sorted(planted.rglob("*"))
    result = call_vedette("audit", planted, "--out", page, "--fix", clean, "--json")
    assert result.returncode == 1, result.stderr
    assert result.stderr == ""
    facts = json.loads(result.stdout)
    assert facts["images"] == 67
    assert facts["labels"] == {"defect": 12, "good": 55}
    assert facts["findings_per_image"] == len(facts["findings"]) / 67
    for each in facts["findings"]:
        assert {"file", "kind", "measure", "value", "threshold", "others", "why"} <= set(each)
        assert (planted / each["file"]).exists()
    assert "data:image/jpeg;base64," in page.read_text()
    assert not re.search(r"(src|href)=.https?:", page.read_text())
    assert sorted(planted.rglob("*")) == before, "no file is moved"
    with clean.open() as file:
        rows = list(csv.DictReader(file))
    kept = {(clean.parent / row["file"]).resolve() for row in rows}
    assert all(path.exists() for path in kept)
    assert not {"copy.png", "half.jpg", "blurred.png", "words.png", "same.bmp"} & {path.name for path in kept}


@pytest.mark.build
def test_audit_command_accepts_clean_images(anomaly_images, call_vedette):
    result = call_vedette("audit", anomaly_images, "--json")
    assert result.returncode == 0, result.stdout
    assert json.loads(result.stdout)["findings_per_image"] <= 0.02


@pytest.mark.parametrize("name", ["none", "empty"])
def test_folder_without_images_is_refused(tmp_path, call_vedette, name):
    (tmp_path / "empty").mkdir()
    result = call_vedette("audit", tmp_path / name)
    assert result.returncode == 2
    assert "remedy: " in result.stderr


# Groups and lists


@pytest.fixture
def image_folder(tmp_path):
    for number in range(24):
        folder = tmp_path / "good" / f"shift{number // 4}"
        folder.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(folder / f"{number:02d}.png"), scene(number))
    return tmp_path


def parts_by_group(images, key):
    parts_of = {}
    for part in ("fit", "calibrate", "threshold", "test"):
        for path in getattr(images, part):
            parts_of.setdefault(key(path), set()).add(part)
    return parts_of


def test_folder_rule_keeps_folders_whole(image_folder):
    images = split.split_images(DataSettings(good="good", group="folder"), image_folder)
    assert all(len(parts) == 1 for parts in parts_by_group(images, lambda path: path.parent).values())


def test_groups_of_a_csv_file_stay_whole(image_folder):
    rows = [f"good/shift{n // 4}/{n:02d}.png,{n % 6}" for n in range(24)]
    (image_folder / "groups.csv").write_text("file,group\n" + "\n".join(rows))
    images = split.split_images(DataSettings(good="good", group="groups.csv"), image_folder)
    assert all(len(parts) == 1 for parts in parts_by_group(images, lambda path: int(path.stem) % 6).values())


@pytest.mark.parametrize(("text", "message"), [("file\na.png", "no column group"), ("file,group\nx.png,1", "no image")])
def test_invalid_group_file_is_refused(image_folder, text, message):
    (image_folder / "groups.csv").write_text(text)
    with pytest.raises(ConfigProblem, match=message):
        split.split_images(DataSettings(good="good", group="groups.csv"), image_folder)


def test_near_copies_stay_in_one_part(image_folder):
    for number in range(8):
        image = cv2.imread(str(next(image_folder.rglob(f"{number:02d}.png"))))
        for copy in range(2):
            cv2.imwrite(
                str(image_folder / "good" / f"{number:02d}-{copy}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85 - copy]
            )
    for seed in range(3):
        logged = []
        images = split.audit_and_split(DataSettings(good="good", seed=seed), image_folder, log=logged.append)
        assert all(len(parts) == 1 for parts in parts_by_group(images, lambda path: path.stem[:2]).values())
        assert any("near_duplicate" in text for text in logged)


def test_keep_list_restricts_the_images_of_a_build(image_folder):
    report = audit_folder(image_folder)
    (image_folder / "lists").mkdir()
    (image_folder / "lists" / "clean.csv").write_bytes(kept_images_csv.format_keep_list(report, image_folder / "lists"))
    kept = (image_folder / "lists" / "clean.csv").read_text().splitlines()
    (image_folder / "lists" / "clean.csv").write_text("\n".join(kept[:-4]))
    images = labeled_images.find_images(DataSettings(good="good", list="lists/clean.csv"), image_folder)
    assert len(images.by_label["good"]) == len(kept) - 5


def test_keep_list_of_other_images_is_refused(image_folder):
    (image_folder / "other.csv").write_text("file,label,group\nx.png,good,1\n")
    with pytest.raises(ConfigProblem, match="names none of the 24 images"):
        labeled_images.find_images(DataSettings(good="good", list="other.csv"), image_folder)


def test_good_image_that_is_a_near_copy_of_a_defective_one_is_tested_or_set_aside(image_folder):
    (image_folder / "defect").mkdir()
    for number in range(3):
        image = cv2.imread(str(next((image_folder / "good").rglob(f"{number:02d}.png"))))
        cv2.imwrite(str(image_folder / "defect" / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    images = split.audit_and_split(DataSettings(good="good", defect="defect"), image_folder)
    assert {"00.png", "01.png", "02.png"} <= {path.name for path in (*images.test, *images.set_aside)}
    assert not set(images.set_aside) & {*images.fit, *images.calibrate, *images.threshold, *images.test}
    assert len(images.defect) == 3


def test_good_twin_of_a_part_with_a_small_defect_is_used(image_folder):
    """A still camera sees the same scene without and with a scratch of 6 x 2 pixels."""
    (image_folder / "defect").mkdir()
    for number in range(20):
        image = cv2.imread(str(next((image_folder / "good").rglob(f"{number:02d}.png"))))
        image[40:42, 30:36] += np.uint8(70) if image[40:42, 30:36].max() < 128 else np.uint8(-70 % 256)
        cv2.imwrite(str(image_folder / "defect" / f"{number}.png"), image)
    images = split.audit_and_split(DataSettings(good="good", defect="defect"), image_folder)
    assert images.audit["counts"]["near_duplicate"] >= 5
    assert images.set_aside == []


@pytest.mark.parametrize(
    ("change", "is_local"),
    [
        (lambda image: cv2.convertScaleAbs(image, alpha=0.9, beta=8), False),
        (lambda image: cv2.GaussianBlur(image, (0, 0), 0.8), False),
        (lambda image: cv2.imdecode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 75])[1], 1), False),
        (lambda image: cv2.circle(image.copy(), (60, 90), 3, (128, 128, 128), -1), True),
        (lambda image: cv2.line(cv2.convertScaleAbs(image, alpha=0.95), (20, 30), (40, 34), (255, 255, 255), 2), True),
    ],
    ids=["brightness", "blur", "jpeg", "spot", "scratch"],
)
def test_small_defect_is_told_from_a_copy(tmp_path, change, is_local):
    for number in range(5):
        image = scene(number)
        cv2.imwrite(str(tmp_path / "one.png"), image)
        cv2.imwrite(str(tmp_path / "other.png"), change(image))
        assert near_duplicates.differs_locally(tmp_path / "one.png", tmp_path / "other.png") == is_local


def test_fixed_test_images_are_in_no_other_part(image_folder):
    for label, numbers in (("good", range(100, 106)), ("defect", range(200, 203))):
        (image_folder / "fixed" / label).mkdir(parents=True)
        for number in numbers:
            cv2.imwrite(str(image_folder / "fixed" / label / f"{number}.png"), scene(number))
    images = split.audit_and_split(DataSettings(good="good", test="fixed"), image_folder)
    assert [path.stem for path in images.test] == [str(number) for number in range(100, 106)]
    assert [path.stem for path in images.defect] == ["200", "201", "202"]
    assert len(images.fit) + len(images.calibrate) + len(images.threshold) == 24
    assert len(images.fit) >= 14, "two thirds of what is not tested"


def test_copies_of_fixed_test_images_are_set_aside(image_folder):
    (image_folder / "fixed" / "good").mkdir(parents=True)
    for number in range(3):
        image = cv2.imread(str(next((image_folder / "good").rglob(f"{number:02d}.png"))))
        cv2.imwrite(str(image_folder / "fixed" / "good" / f"{number}.jpg"), image, [cv2.IMWRITE_JPEG_QUALITY, 85])
    images = split.audit_and_split(DataSettings(good="good", test="fixed"), image_folder)
    assert [path.name for path in images.set_aside] == ["00.png", "01.png", "02.png"]
    assert not set(images.set_aside) & {*images.fit, *images.calibrate, *images.threshold}


def test_image_in_the_training_and_the_test_folder_is_refused(image_folder):
    (image_folder / "good" / "fixed" / "good").mkdir(parents=True)
    cv2.imwrite(str(image_folder / "good" / "fixed" / "good" / "1.png"), scene(100))
    with pytest.raises(ConfigProblem, match=r"1\.png would be in data\.good and in data\.test"):
        split.split_images(DataSettings(good="good", test="good/fixed"), image_folder)


def test_build_leaves_out_unusable_images_and_logs_them(image_folder):
    (image_folder / "good" / "broken.jpg").write_bytes(b"not a picture")
    (image_folder / "defect").mkdir()
    shutil.copy(image_folder / "good" / "shift0" / "00.png", image_folder / "defect" / "odd.png")
    cv2.imwrite(str(image_folder / "defect" / "true.png"), scene(99))
    logged = []
    images = split.audit_and_split(DataSettings(good="good", defect="defect"), image_folder, log=logged.append)
    out = {"good/broken.jpg", "good/shift0/00.png", "defect/odd.png"}
    assert {each["file"] for each in images.audit["left_out"]} == out
    assert all(any(name in text for text in logged) for name in out)
    assert [path.name for path in images.defect] == ["true.png"]
    assert any("false-alarm rate" in text for text in logged)


def test_more_images_give_tighter_bounds():
    few, many = SampleSize(9, 10, 10), SampleSize(299, 100, 100)
    assert many.smallest_false_alarm_rate == pytest.approx(0.01, abs=1e-4)
    assert SampleSize(0, 10, 10).smallest_false_alarm_rate == 1
    assert few.auroc_half_width > 3 * many.auroc_half_width
    assert SampleSize(9, 10, 0).auroc_half_width is None


# Real images


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cookies", pytest.param("aliens", marks=pytest.mark.slow)])
def test_real_sets_are_clean_and_planted_faults_are_found(name, tmp_path):
    if not (SHARED / name).is_dir():
        pytest.skip(f"the development images {name} are not present")
    clean = audit_folder(SHARED / name)
    certain = [each for each in clean.findings if each.kind != "defect"]
    assert len(certain) < 0.02 * sum(map(len, clean.images.values()))
    assert len(clean.findings) - len(certain) <= 0.1 * len(clean.images["good"]), "some good parts look odd"

    for label in ("good", "defect"):
        shutil.copytree(SHARED / name / label, tmp_path / label)
    good = sorted((tmp_path / "good").iterdir())
    defect = sorted((tmp_path / "defect").iterdir())
    shutil.copy(defect[3], tmp_path / "good" / f"copy{defect[3].suffix}")
    cv2.imwrite(str(tmp_path / "good" / "blurred.png"), cv2.GaussianBlur(cv2.imread(str(good[4])), (0, 0), 3))
    cv2.imwrite(str(tmp_path / "good" / "cut.jpg"), cv2.imread(str(good[6])))
    (tmp_path / "good" / "cut.jpg").write_bytes((tmp_path / "good" / "cut.jpg").read_bytes()[:20000])
    other = "cookies" if name == "aliens" else "aliens"
    stranger = sorted((SHARED / other / "good").iterdir())[0]
    shutil.copy(stranger, tmp_path / "good" / f"stranger{stranger.suffix}")
    report = audit_folder(tmp_path)
    assert "good/blurred.png" in files_of_kind(report, "blur")
    assert "good/cut.jpg" in files_of_kind(report, "truncated")
    assert f"good/stranger{stranger.suffix}" in files_of_kind(report, "label")
    assert tmp_path / "good" / f"copy{defect[3].suffix}" in report.left_out


# Depth, links, and files that are no images


def write_good_images(folder, count=24, factor=1):
    folder.mkdir(parents=True)
    for number in range(count):
        picture = scene(300 + number)[..., 0]
        pixels = picture if factor == 1 else picture.astype(np.uint16) * factor
        cv2.imwrite(str(folder / f"{number:02d}.png"), pixels)


@pytest.mark.parametrize(("factor", "note"), [(16, "12 bits in 16"), (256, "16 bits per channel")])
def test_audit_tells_how_deep_images_are_read(tmp_path, factor, note):
    write_good_images(tmp_path / "deep", 12, factor)
    write_good_images(tmp_path / "plain", 12)
    deep, plain = audit_folder(tmp_path / "deep"), audit_folder(tmp_path / "plain")
    assert plain.notes == ()
    (line,) = deep.notes
    assert "12 images have" in line
    assert note in line
    assert [(each.kind, each.value) for each in deep.findings] == [(each.kind, each.value) for each in plain.findings]


@pytest.mark.parametrize("highest", [1, 255])
def test_float_images_and_turned_tiffs_are_left_out_before_the_work(tmp_path, highest):
    """The runtime's decoder reads neither; Pillow reads both."""
    write_good_images(tmp_path / "good")
    levels = scene(1)[..., 0] / 255 * highest
    Image.fromarray(levels.astype(np.float32)).save(tmp_path / "good" / "float.tif")
    turned = Image.Exif()
    turned[0x0112] = 6
    Image.fromarray(scene(2)[:150]).save(tmp_path / "good" / "turned.tif", exif=turned)
    named = labeled_images.find_images(DataSettings(good="good"), tmp_path)
    lines: list[str] = []
    audit, _ = labeled_images.audit_labeled_images(named, tmp_path, no_progress, lines.append)
    left_out = {path.name: finding for path, finding in audit.left_out.items()}
    assert set(left_out) == {"float.tif", "turned.tif"}
    assert left_out["float.tif"].kind == "unreadable"
    assert "float32 numbers" in left_out["float.tif"].why
    assert any("float.tif" in line and "8 or 16 bits" in line for line in lines)


def test_audit_and_build_see_the_same_files(tmp_path):
    write_good_images(tmp_path / "nas")
    write_good_images(tmp_path / "set" / "good", 12)
    (tmp_path / "set" / "good" / "batch").symlink_to(tmp_path / "nas")
    for name in ("a.HEIC", "b.heic", "c.jfif", "d.gif", "e.jp2", "f.avif"):
        (tmp_path / "set" / "good" / name).write_bytes(b"picture")
    named = labeled_images.find_images(DataSettings(good="good"), tmp_path / "set")
    lines: list[str] = []
    built, summary = labeled_images.audit_labeled_images(named, tmp_path / "set", no_progress, lines.append)
    audited = audit_folder(tmp_path / "set").with_skipped_files([tmp_path / "set"])
    assert len(built.images["good"]) == len(audited.images["good"]) == 36
    assert set(built.images["good"]) == set(audited.images["good"])
    assert summary["skipped"] == [f"good/{name}" for name in ("a.HEIC", "b.heic", "c.jfif", "d.gif", "e.jp2", "f.avif")]
    assert built.skipped == audited.skipped
    assert any("skipped: 2 .heic, 1 .avif, 1 .gif, 1 .jfif, 1 .jp2, for example good/a.HEIC" in line for line in lines)
    assert audited.to_dict()["skipped"] == summary["skipped"]
