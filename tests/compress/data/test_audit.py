"""What is planted among images is found and named, and what is clean is left alone."""

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

from vedette.compress.data import groups, keep_list
from vedette.compress.data import split as dataset
from vedette.compress.data.audit import audit_images, folder_layout
from vedette.compress.data.audit.sample_size import SampleSize
from vedette.compress.goal.goal_file import DataSettings
from vedette.runtime.errors import ConfigProblem

SETS = SHARED


def looked_at(path, group=None):
    images, folders = folder_layout.read_folder_layout(path)
    return audit_images(images, folders, groups.assign_groups(images, folders, group, Path()), path)


def found(report, kind):
    return {report.relative_name(each.file) for each in report.findings if each.kind == kind}


def scene(seed, size=200):
    """A picture unlike any other: blobs of colour, with the fine grain of a camera."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(rng.uniform(20, 235, (6, 6, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    lines = coarse + 40 * (np.indices((size, size)).sum(axis=0) % 16 < 8)[..., None]
    return (lines + rng.normal(0, 6, (size, size, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """Forty pictures and twelve others, with everything wrong among them that an audit promises to find."""
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
    return looked_at(planted)


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
def test_what_is_planted_is_found_and_nothing_else(report, kind, names):
    assert found(report, kind) == names


def test_copies_are_told_from_contradictions(report):
    by_name = {report.relative_name(each.file): each for each in report.findings if each.kind == "duplicate"}
    across = by_name.pop("good/copy.png", None) or by_name.pop("defect/003.png")
    assert across.breaks
    assert "labelled" in across.why
    (within,) = by_name.values()
    assert not within.breaks
    assert {report.relative_name(path) for path in (within.file, *within.others)} == {"good/same.bmp", "good/005.png"}


def test_what_breaks_a_build_is_left_out(report):
    assert {report.relative_name(path) for path in report.left_out} == {
        *("good/half.jpg", "good/nearly.jpg", "good/half.png", "good/nothing.png", "good/words.png", "good/black.png"),
        *("good/copy.png", "defect/003.png"),
    }


def test_a_png_whose_data_is_damaged_is_unusable(tmp_path):
    for number in range(3):
        cv2.imwrite(str(tmp_path / f"{number}.png"), scene(number))
    data = bytearray((tmp_path / "1.png").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "1.png").write_bytes(data)
    assert {path.name for path in looked_at(tmp_path).left_out} == {"1.png"}


@pytest.fixture(scope="module")
def two_kinds(tmp_path_factory):
    """Weaves and scenes, each in a folder of its own; one of each lies in the other's."""
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


def test_a_wrong_label_is_found(two_kinds):
    assert found(looked_at(two_kinds), "label") == {"colourful/a00.png", "plain/b01.png"}


def test_a_label_that_is_short_of_images_is_one_finding(tmp_path):
    for label, count in (("many", 12), ("few", 2)):
        (tmp_path / label).mkdir()
        for number in range(count):
            cv2.imwrite(str(tmp_path / label / f"{number}.png"), scene(10 * count + number))
    (short,) = (each for each in looked_at(tmp_path).findings if each.kind == "imbalance")
    assert (short.file, short.label) == (tmp_path / "few", "few")


def test_a_name_that_is_not_utf8_can_be_told(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), scene(1))
    (tmp_path / "a.png").rename(tmp_path / b"caf\xe9.png".decode(errors="surrogateescape"))
    (finding,) = looked_at(tmp_path).to_dict()["findings"]
    assert finding["file"] == "caf\\xe9.png"
    json.dumps(finding).encode()


# The command


def test_the_command_tells_programs_and_people(planted, tmp_path, run_vedette):
    page, clean = tmp_path / "page.html", tmp_path / "clean.csv"
    before = sorted(planted.rglob("*"))
    done = run_vedette("audit", planted, "--out", page, "--fix", clean, "--json")
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    facts = json.loads(done.stdout)
    assert facts["images"] == 67
    assert facts["labels"] == {"defect": 12, "good": 55}
    assert facts["findings_per_image"] == len(facts["findings"]) / 67
    for each in facts["findings"]:
        assert {"file", "kind", "measure", "value", "threshold", "others", "why"} <= set(each)
        assert (planted / each["file"]).exists()
    assert "data:image/jpeg;base64," in page.read_text()
    assert not re.search(r"(src|href)=.https?:", page.read_text())
    assert sorted(planted.rglob("*")) == before, "nothing is moved"
    with clean.open() as file:
        rows = list(csv.DictReader(file))
    kept = {(clean.parent / row["file"]).resolve() for row in rows}
    assert all(path.exists() for path in kept)
    assert not {"copy.png", "half.jpg", "blurred.png", "words.png", "same.bmp"} & {path.name for path in kept}


def test_the_command_is_content_with_clean_images(anomaly_images, run_vedette):
    done = run_vedette("audit", anomaly_images, "--json")
    assert done.returncode == 0, done.stdout
    assert json.loads(done.stdout)["findings_per_image"] <= 0.02


@pytest.mark.parametrize("name", ["none", "empty"])
def test_a_folder_without_images_is_said(tmp_path, run_vedette, name):
    (tmp_path / "empty").mkdir()
    done = run_vedette("audit", tmp_path / name)
    assert done.returncode == 2
    assert "remedy: " in done.stderr


# Groups and lists


@pytest.fixture
def pictures(tmp_path):
    for number in range(24):
        place = tmp_path / "good" / f"shift{number // 4}"
        place.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(place / f"{number:02d}.png"), scene(number))
    return tmp_path


def homes(split, key):
    where = {}
    for part in ("fit", "calibrate", "threshold", "test"):
        for path in getattr(split, part):
            where.setdefault(key(path), set()).add(part)
    return where


def test_a_folder_is_a_group(pictures):
    split = dataset.split_images(DataSettings(good="good", group="folder"), pictures)
    assert all(len(parts) == 1 for parts in homes(split, lambda path: path.parent).values())


def test_a_csv_file_names_groups(pictures):
    rows = [f"good/shift{n // 4}/{n:02d}.png,{n % 6}" for n in range(24)]
    (pictures / "groups.csv").write_text("file,group\n" + "\n".join(rows))
    split = dataset.split_images(DataSettings(good="good", group="groups.csv"), pictures)
    assert all(len(parts) == 1 for parts in homes(split, lambda path: int(path.stem) % 6).values())


@pytest.mark.parametrize(("text", "said"), [("file\na.png", "no column group"), ("file,group\nx.png,1", "no image")])
def test_a_wrong_csv_file_is_said(pictures, text, said):
    (pictures / "groups.csv").write_text(text)
    with pytest.raises(ConfigProblem, match=said):
        dataset.split_images(DataSettings(good="good", group="groups.csv"), pictures)


def test_near_copies_are_never_divided(pictures):
    for number in range(8):
        picture = cv2.imread(str(next(pictures.rglob(f"{number:02d}.png"))))
        for copy in range(2):
            cv2.imwrite(
                str(pictures / "good" / f"{number:02d}-{copy}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85 - copy]
            )
    for seed in range(3):
        said = []
        split = dataset.audit_and_split(DataSettings(good="good", seed=seed), pictures, log=said.append)
        assert all(len(parts) == 1 for parts in homes(split, lambda path: path.stem[:2]).values())
        assert any("near_duplicate" in text for text in said)


def test_a_list_restricts_a_build_to_what_it_names(pictures):
    report = looked_at(pictures)
    (pictures / "lists").mkdir()
    (pictures / "lists" / "clean.csv").write_bytes(keep_list.format_keep_list(report, pictures / "lists"))
    kept = (pictures / "lists" / "clean.csv").read_text().splitlines()
    (pictures / "lists" / "clean.csv").write_text("\n".join(kept[:-4]))
    images = dataset.find_images(DataSettings(good="good", list="lists/clean.csv"), pictures)
    assert len(images.by_label["good"]) == len(kept) - 5


def test_a_list_of_other_images_is_said(pictures):
    (pictures / "other.csv").write_text("file,label,group\nx.png,good,1\n")
    with pytest.raises(ConfigProblem, match="names none of the 24 images"):
        dataset.find_images(DataSettings(good="good", list="other.csv"), pictures)


def test_a_good_image_that_nearly_is_a_defective_one_is_tested_with_it_or_set_aside(pictures):
    (pictures / "defect").mkdir()
    for number in range(3):
        picture = cv2.imread(str(next((pictures / "good").rglob(f"{number:02d}.png"))))
        cv2.imwrite(str(pictures / "defect" / f"{number}.jpg"), picture, [cv2.IMWRITE_JPEG_QUALITY, 85])
    split = dataset.audit_and_split(DataSettings(good="good", defect="defect"), pictures)
    assert {"00.png", "01.png", "02.png"} <= {path.name for path in (*split.test, *split.set_aside)}
    assert not set(split.set_aside) & {*split.fit, *split.calibrate, *split.threshold, *split.test}
    assert len(split.defect) == 3


def test_a_build_leaves_out_what_it_cannot_use_and_says_so(pictures):
    (pictures / "good" / "broken.jpg").write_bytes(b"not a picture")
    (pictures / "defect").mkdir()
    shutil.copy(pictures / "good" / "shift0" / "00.png", pictures / "defect" / "odd.png")
    cv2.imwrite(str(pictures / "defect" / "true.png"), scene(99))
    said = []
    split = dataset.audit_and_split(DataSettings(good="good", defect="defect"), pictures, log=said.append)
    out = {"good/broken.jpg", "good/shift0/00.png", "defect/odd.png"}
    assert {each["file"] for each in split.audit["left_out"]} == out
    assert all(any(name in text for text in said) for name in out)
    assert [path.name for path in split.defect] == ["true.png"]
    assert any("false-alarm rate" in text for text in said)


def test_more_images_prove_more():
    few, many = SampleSize(9, 10, 10), SampleSize(299, 100, 100)
    assert many.smallest_false_alarm_rate == pytest.approx(0.01, abs=1e-4)
    assert SampleSize(0, 10, 10).smallest_false_alarm_rate == 1
    assert few.auroc_half_width > 3 * many.auroc_half_width
    assert SampleSize(9, 10, 0).auroc_half_width is None


# Real pictures


@pytest.mark.parametrize("name", ["aliens", "cookies"])
def test_real_sets_are_clean_and_what_is_planted_in_them_is_found(name, tmp_path):
    if not (SETS / name).is_dir():
        pytest.skip(f"the development images {name} are not beside the project")
    clean = looked_at(SETS / name)
    assert len(clean.findings) < 0.02 * sum(map(len, clean.images.values()))

    for label in ("good", "defect"):
        shutil.copytree(SETS / name / label, tmp_path / label)
    good = sorted((tmp_path / "good").iterdir())
    defect = sorted((tmp_path / "defect").iterdir())
    shutil.copy(defect[3], tmp_path / "good" / f"copy{defect[3].suffix}")
    cv2.imwrite(str(tmp_path / "good" / "blurred.png"), cv2.GaussianBlur(cv2.imread(str(good[4])), (0, 0), 3))
    cv2.imwrite(str(tmp_path / "good" / "cut.jpg"), cv2.imread(str(good[6])))
    (tmp_path / "good" / "cut.jpg").write_bytes((tmp_path / "good" / "cut.jpg").read_bytes()[:20000])
    other = "cookies" if name == "aliens" else "aliens"
    stranger = sorted((SETS / other / "good").iterdir())[0]
    shutil.copy(stranger, tmp_path / "good" / f"stranger{stranger.suffix}")
    report = looked_at(tmp_path)
    assert "good/blurred.png" in found(report, "blur")
    assert "good/cut.jpg" in found(report, "truncated")
    assert f"good/stranger{stranger.suffix}" in found(report, "label")
    assert tmp_path / "good" / f"copy{defect[3].suffix}" in report.left_out
