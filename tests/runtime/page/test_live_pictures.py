"""Viewers of live pictures: a bounded number of readers, and room for the next one when a view was left."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.runtime.page import live_pictures
from vedette.runtime.page.live_pictures import LEFT_SECONDS, MAX_VIEWERS, LivePictures
from vedette.runtime.page.translation import load_translation


def test_a_view_that_was_left_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_pictures, "WAIT_SECONDS", 0.0)
    pictures, english = LivePictures(), load_translation("en")
    for number in range(MAX_VIEWERS):
        assert pictures.next_picture(f"{number:016x}", tmp_path, english) is None
    with pytest.raises(BlockingIOError):  # all of them have just asked
        pictures.next_picture("f" * 16, tmp_path, english)
    pictures.viewers["0" * 16, tmp_path].used -= LEFT_SECONDS
    assert pictures.next_picture("f" * 16, tmp_path, english) is None
    assert len(pictures.viewers) == MAX_VIEWERS
    assert ("0" * 16, tmp_path) not in pictures.viewers
    pictures.close()
