"""What the workshop's page writes are the files that every other command reads, complete or not at all."""

from __future__ import annotations

import io
import signal
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from waiting import wait_for

from vedette.compress.data.kept_images_csv import restrict_to_keep_list
from vedette.compress.goal.goal_reader import read_goal
from vedette.compress.studio.defect_marks import save_mark
from vedette.compress.studio.goal_form import WantedGoal, describe_steps, follow_folders, save_wanted
from vedette.compress.studio.goal_promises import count_promises, defective_images_for, good_images_for
from vedette.compress.studio.goal_text import change_goal
from vedette.compress.studio.image_upload import MAX_PIXELS, clean_name, store_image
from vedette.compress.studio.keep_list import keep_new, read_kept, set_kept
from vedette.compress.studio.workshop_process import ProcessSlot, read_progress
from vedette.compress.studio.workspace import Workspace, open_workspace
from vedette.runtime.errors import ConfigProblem
from vedette.runtime.page.translation import load_translation


def png(shade: int, size: tuple[int, int] = (24, 16), mode: str = "RGB") -> bytes:
    content = io.BytesIO()
    Image.new(mode, size, (shade,) * len(mode) if mode != "L" else shade).save(content, "PNG")
    return content.getvalue()


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    found = open_workspace(tmp_path / "part")
    for shade in (10, 20, 30):
        store_image(found, "good", f"{shade}.png", png(shade))
    store_image(found, "defect", "scratch.png", png(99))
    return found


@pytest.mark.parametrize(
    ("name", "stem", "suffix"),
    [
        ("../../etc/passwd.png", "passwd", ".png"),
        ("C:\\photos\\a b.JPG", "a_b", ".jpg"),
        (".hidden.png", "hidden", ".png"),
        ("..", "image", "."),
        ("한국.png", "image", ".png"),
        ("x" * 500 + ".png", "x" * 80, ".png"),
        ("a\0b.png", "a_b", ".png"),
    ],
)
def test_names_lead_nowhere_else(name: str, stem: str, suffix: str) -> None:
    assert clean_name(name) == (stem, suffix)


def test_upload_keeps_what_is_there(workspace: Workspace) -> None:
    again = store_image(workspace, "good", "10.png", png(10))
    other = store_image(workspace, "good", "10.png", png(11))
    renamed = store_image(workspace, "good", "evil.html", png(12))
    assert (again.name, other.name, renamed.name) == ("10.png", "10-2.png", "evil.png")
    assert len(workspace.images("good")) == 5
    assert {path.suffix for path in (workspace.folder / "good").iterdir()} == {".png"}


@pytest.mark.parametrize(
    "content", [b"", b"<svg/>", b"GIF89a" + bytes(40), png(1)[:-40]], ids=["empty", "svg", "gif", "cut off"]
)
def test_only_whole_images_are_stored(workspace: Workspace, content: bytes) -> None:
    before = sorted(workspace.folder.rglob("*"))
    with pytest.raises(ConfigProblem):
        store_image(workspace, "good", "new.png", content)
    assert sorted(workspace.folder.rglob("*")) == before


def test_huge_images_are_refused_before_they_are_decoded(workspace: Workspace) -> None:
    huge = bytearray(png(1, (1, 1)))
    huge[16:24] = (60_000).to_bytes(4) * 2  # width and height in the header
    assert MAX_PIXELS < 60_000**2
    with pytest.raises(ConfigProblem):
        store_image(workspace, "good", "huge.png", bytes(huge))


@pytest.mark.parametrize("name", ["good/../goal.toml", "../x.png", "/etc/passwd", "good/", "", "builds/1/x.png"])
def test_only_images_of_a_label_are_found(workspace: Workspace, name: str) -> None:
    assert workspace.find_image(name) is None
    assert workspace.find_image("good/10.png") is not None


def test_dropped_images_are_those_that_a_build_leaves_out(workspace: Workspace) -> None:
    dropped, *others = workspace.images("good")
    assert read_kept(workspace) is None
    set_kept(workspace, dropped, keep=False)
    selected, _ = restrict_to_keep_list(workspace.all_images(), workspace.keep_file)
    assert selected == {"good": others, "defect": workspace.images("defect")}
    new = store_image(workspace, "good", "new.png", png(77))
    keep_new(workspace, new)
    set_kept(workspace, dropped, keep=True)
    selected, _ = restrict_to_keep_list(workspace.all_images(), workspace.keep_file)
    assert selected["good"] == sorted([dropped, *others, new])


def test_groups_of_a_list_that_a_person_wrote_stay(workspace: Workspace) -> None:
    workspace.keep_file.write_text(
        "file,label,group\ngood/10.png,good,a\ngood/20.png,good,b\ndefect/scratch.png,defect,\n"
    )
    set_kept(workspace, workspace.folder / "good/20.png", keep=False)
    set_kept(workspace, workspace.folder / "good/30.png", keep=True)
    _, groups = restrict_to_keep_list(workspace.all_images(), workspace.keep_file)
    assert groups == {workspace.folder / "good/10.png": "a"}


def test_goal_is_one_that_a_build_takes(workspace: Workspace) -> None:
    save_wanted(workspace, WantedGoal("part", "pi4", false_alarm_rate=0.02, max_ms=50))
    goal = read_goal(workspace.goal_file)
    assert (goal.name, goal.task, goal.device.profile) == ("part", "anomaly", "pi4")
    assert (goal.data.good, goal.data.defect, goal.data.list, goal.data.mask) == ("good", "defect", None, None)
    assert (goal.goal.false_alarm_rate, goal.goal.max_ms, goal.goal.min_auroc) == (0.02, 50, None)
    set_kept(workspace, workspace.folder / "good/10.png", keep=False)
    save_mark(workspace, workspace.folder / "defect/scratch.png", png(255, mode="RGBA"))
    follow_folders(workspace)
    goal = read_goal(workspace.goal_file)
    assert (goal.data.list, goal.data.mask) == ("keep.csv", "masks")


def test_goal_of_a_person_keeps_its_words(workspace: Workspace) -> None:
    text = (
        '# ours\nname = "a"  # the first\ntask = "anomaly"\n\n[data]\ngood = "good" # day shift\nseed = 3\n\n'
        '[goal] # targets\nmax_drop = 0.02\nmin_auroc = 0.9 # was 0.8\n\n[[recipe]]\nuse = "quantize"\n'
    )
    workspace.goal_file.write_text(text)
    save_wanted(workspace, WantedGoal("b", "host", false_alarm_rate=0.05, min_auroc=0.95))
    changed = workspace.goal_file.read_text()
    for kept in ("# ours", "# the first", 'good = "good" # day shift', "seed = 3", "[goal] # targets", "# was 0.8"):
        assert kept in changed
    keys = tomllib.loads(changed)
    assert keys["goal"] == {"max_drop": 0.02, "min_auroc": 0.95, "false_alarm_rate": 0.05}
    assert (keys["name"], keys["data"]["defect"], keys["recipe"]) == ("b", "defect", [{"use": "quantize"}])


def test_wrong_goal_leaves_the_file_as_it_was(workspace: Workspace) -> None:
    save_wanted(workspace, WantedGoal("part", "host"))
    before = workspace.goal_file.read_bytes()
    for changes in ({"device": {"profile": "abacus"}}, {"goal": {"min_auroc": 7.0}}, {"": {"name": "a/b"}}):
        with pytest.raises(ConfigProblem):
            change_goal(workspace.goal_file, changes)
    assert workspace.goal_file.read_bytes() == before
    assert not list(workspace.folder.glob(".goal*"))


def test_goals_that_the_page_cannot_show_are_told(workspace: Workspace) -> None:
    workspace.goal_file.write_text('name = "a"\ntask = "classify"\n[data]\ngood = "good"\n')
    with pytest.raises(ConfigProblem, match="classify"):
        save_wanted(workspace, WantedGoal("b", "host"))
    workspace.goal_file.write_text('name = "a"\ntask = "anomaly"\n[data]\ngood = "../elsewhere"\n')
    with pytest.raises(ConfigProblem, match="elsewhere"):
        follow_folders(workspace)


def test_promises_are_those_of_the_exact_bounds() -> None:
    promises = count_promises(40, 10)
    assert promises.threshold == 6
    assert promises.smallest_false_alarm_rate == pytest.approx(1 - 0.05 ** (1 / 6))
    assert promises.largest_detection_rate == pytest.approx(0.025**0.1)
    assert count_promises(19, 0).smallest_false_alarm_rate is None
    assert good_images_for(0.01) == 1994  # 299 threshold images, 15 % of all
    assert count_promises(good_images_for(0.01), 0).smallest_false_alarm_rate == pytest.approx(0.00997, abs=1e-4)
    needed = defective_images_for(0.9)
    assert needed is not None
    assert count_promises(40, needed).largest_detection_rate >= 0.9  # type: ignore[operator]
    assert count_promises(40, needed - 1).largest_detection_rate < 0.9  # type: ignore[operator]


def test_sliders_say_what_cannot_be_proven() -> None:
    english, promises = load_translation("en"), count_promises(40, 10)
    steps = describe_steps("false_alarm_rate", 0.03, promises, english)
    assert "no less than 39.3% can be proven" in steps[0].promise
    assert {step.level for step in steps} == {"watch"}
    assert 0.03 in [step.value for step in steps]
    detections = {step.value: step.level for step in describe_steps("min_detection_rate", None, promises, english)}
    assert (detections[0.6], detections[0.7]) == ("good", "watch")


def test_mark_is_a_mask_of_the_stem(workspace: Workspace) -> None:
    image = workspace.folder / "defect/scratch.png"
    drawn = np.zeros((16, 24, 4), np.uint8)
    drawn[4:8, 5:15] = (255, 80, 80, 255)
    content = io.BytesIO()
    Image.fromarray(drawn).save(content, "PNG")
    save_mark(workspace, image, content.getvalue())
    mask = np.asarray(Image.open(workspace.folder / "masks/scratch.png"))
    assert mask.shape == (16, 24)
    assert (mask > 0).sum() == 40
    assert mask[4, 5] == 255
    with pytest.raises(ConfigProblem, match="shape"):
        save_mark(workspace, image, png(0, (50, 50), "RGBA"))
    save_mark(workspace, image, _empty())
    assert not (workspace.folder / "masks/scratch.png").exists()


def _empty() -> bytes:
    content = io.BytesIO()
    Image.new("RGBA", (24, 16)).save(content, "PNG")
    return content.getvalue()


def test_progress_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("[  0.1 s] reading the images\nprogress: audit 3 of 9\n")
    progress = read_progress(log)
    assert [(step.text, step.seconds) for step in progress.steps] == [("reading the images", 0.1)]
    assert progress.counted == ("audit", 3, 9)
    log.write_text(log.read_text() + "progress: audit 9 of 9\nvedette: no images\n")
    assert read_progress(log).counted is None
    assert read_progress(log).steps[-1].text == "vedette: no images"


def test_cancelling_ends_the_whole_process_group(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "busy"
    script.write_text(
        f"#!/bin/sh\n{sys.executable} -c 'import time; time.sleep(600)' &\necho $! > {tmp_path}/child\nwait\n"
    )
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    slot, codes = ProcessSlot(), list[int]()
    slot.start("build", [], tmp_path, tmp_path / "log", tmp_path / "out", codes.append)
    wait_for(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text().strip(), "no child")
    with pytest.raises(ConfigProblem, match="runs already"):
        slot.start("audit", [], tmp_path, tmp_path / "log2", tmp_path / "out", codes.append)
    slot.stop()
    assert codes == [-signal.SIGINT]  # the shell has made its child ignore it, so that one is killed
    assert slot.running is None
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "stat"
    wait_for(lambda: not child.exists() or child.read_text().rpartition(")")[2].split()[0] == "Z", "the child lives")
