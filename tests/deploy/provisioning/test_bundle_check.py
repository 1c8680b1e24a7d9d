"""A forgotten key is told before the boxes lose theirs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from vedette.deploy.provisioning.bundle_check import check_keys_stay
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
