"""The tutorials lead where they say, on the real images and recordings that they name; translations agree."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from examples import list_examples
from paths import SHARED
from tutorial import follow


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the tutorial is followed, with `data`; the home is empty."""
    if not (SHARED / "cookies").is_dir():
        pytest.skip("the development images and recordings are not beside the project")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "data").symlink_to(SHARED)
    return tmp_path


def events_of(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.splitlines()]


@pytest.mark.parametrize("name", ["factory", "cctv", "road"])
def test_translation_has_the_files_and_commands_of_the_original(name: str) -> None:
    def blocks(page: str) -> list[str]:
        return [re.sub(r" *#.*", "", each.text) for each in list_examples() if each.page == page and not each.language]

    translated, original = blocks(f"docs/ko/{name}.md"), blocks(f"docs/tutorials/{name}.md")
    assert translated
    assert not [block for block in translated if block not in original]


@pytest.mark.slow
def test_factory(folder: Path) -> None:
    done = follow("docs/tutorials/factory.md", folder)
    assert "normal-14.jpg" in done["audit data/cookies/good --out audit.html"].stdout
    built = done["build biscuits.toml --out out --key keys/vedette.key"].stdout
    assert "goal NOT PROVEN" in built
    events = events_of(done["run line --config device"].stdout)
    kinds = [event["type"] for event in events]
    assert kinds.count("vedette.defect.new") == kinds.count("vedette.defect.end") > 5
    assert all("p_value" in event["data"]["predictions"][0] for event in events if event["type"].endswith("new"))
    for report in ("audit.html", "out/biscuits.html"):
        assert (folder / report).is_file()


@pytest.mark.slow
def test_cctv_and_road(folder: Path) -> None:
    """The road tutorial goes on where the one for CCTV ends."""
    done = follow("docs/tutorials/cctv.md", folder)
    kinds = [event["type"] for event in events_of(done["run hall --config device"].stdout)]
    assert kinds.count("vedette.table.new") == 6  # counted by hand
    traffic = done["traffic data/videos/one-by-one-person-detection.mp4 hall --config device"].stdout
    assert float(traffic.split("share")[1].strip(" %\n")) < 5

    done = follow("docs/tutorials/road.md", folder)
    events = events_of(done["run road --config device"].stdout)
    counts = [event["data"]["after"]["counts"] for event in events if event["type"] == "vedette.count.end"]
    assert counts[-1] == {"left": 2, "right": 1}  # by hand: 2 and 2, as the page says
    speeds = [event["data"]["after"]["top_speed"] for event in events if event["type"] == "vedette.fast.end"]
    assert speeds
    assert all(5 < speed < 30 for speed in speeds)
