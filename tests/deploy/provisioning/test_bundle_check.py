"""A forgotten key is told before the boxes lose theirs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from vedette.deploy.provisioning.bundle_check import check_keys_stay, require_key
from vedette.deploy.provisioning.fleet_table import Box, BoxCamera
from vedette.deploy.seed import FILE_NAME, Seed, SeedDevice, render_seed
from vedette.runtime.errors import ConfigProblem

BOX = Seed(device=SeedDevice(name="b1"))


def test_a_run_without_a_key_does_not_take_the_keys_of_the_boxes(tmp_path: Path) -> None:
    check_keys_stay(tmp_path / "new")
    seed = tmp_path / "boxes" / "b1" / FILE_NAME
    seed.parent.mkdir(parents=True)
    seed.write_text(render_seed(BOX))
    check_keys_stay(tmp_path)
    seed.write_text(render_seed(msgspec.structs.replace(BOX, keys={"vedette.pub": "K"})))
    with pytest.raises(ConfigProblem, match="no trusted key is given"):
        check_keys_stay(tmp_path)


def test_boxes_with_cameras_need_a_key() -> None:
    require_key((Box("b1"),))
    with pytest.raises(ConfigProblem, match="refuse every bundle") as caught:
        require_key((Box("b1"), Box("b2", cameras=(BoxCamera("door", "v4l2:/dev/video0", "cells.vedette"),))))
    assert "--key NAME.pub" in caught.value.hint
    assert "--keys-in-image" in caught.value.hint
