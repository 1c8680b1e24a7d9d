"""`[[products]]`: what is wrong in a camera's file is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.runtime.config.camera_products import list_installed, list_product_settings
from vedette.runtime.config.configuration import load_config
from vedette.runtime.errors import ConfigProblem

TRIGGER = '[trigger]\nsource = "mqtt:"\n'
LEFT = '[[products]]\nname = "left"\nindex = 1\nbundle = "left.vedette"\nthreshold = 3.0\nwarn = 2.0\n'
RIGHT = '[[products]]\nname = "right"\nindex = 2\nbundle = "installed:right"\n'


def write(folder: Path, text: str) -> Path:
    (folder / "cameras").mkdir(parents=True)
    (folder / "vedette.toml").write_text('[device]\nname = "box"\n')
    (folder / "cameras" / "door.toml").write_text(f'source = "file:parts"\n{text}')
    return folder


def test_each_product_has_settings_of_its_own(tmp_path: Path) -> None:
    settings = load_config(write(tmp_path, TRIGGER + LEFT + RIGHT), "door")
    left, right = list_product_settings(settings)
    assert left.trigger is not None
    assert right.trigger is not None
    assert (left.trigger.product, left.trigger.product_index) == ("left", 1)
    assert (left.trigger.threshold, left.trigger.warn, right.trigger.threshold) == (3.0, 2.0, None)
    assert left.bundle == settings.bundle == tmp_path.resolve() / "cameras" / "left.vedette"
    assert right.bundle.parts[-4:] == ("models", "right", "current", "bundle.vedette")
    assert list_installed(settings) == {"right"}
    assert list_product_settings(left) == (left,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "missing required field `bundle`"),
        (LEFT, "they need the table [trigger]"),
        (f'bundle = "a.vedette"\n{TRIGGER}{LEFT}', "each of [[products]] has its own"),
        (f"{TRIGGER}threshold = 1.0\n{LEFT}", "trigger.threshold: write it into [[products]]"),
        (f"{TRIGGER}product_index = 5\n{LEFT}{RIGHT}", "5 is no index of [[products]]"),
        (f"{TRIGGER}{LEFT}{RIGHT.replace('2', '1')}", "two have the index 1"),
        (f"{TRIGGER}{LEFT}{RIGHT.replace('right', 'left', 1)}", "two have the name 'left'"),
        (f"{TRIGGER}{LEFT.replace('warn = 2.0', 'warn = 3.0')}", "must be below threshold"),
        (f"{TRIGGER}{LEFT.replace('index = 1', 'index = 65535')}", "65534"),
        (f"{TRIGGER}{LEFT.replace('installed:', '')}color = 1\n", "color"),
    ],
)
def test_mistake_is_told(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ConfigProblem) as caught:
        load_config(write(tmp_path, text), "door")
    assert message in caught.value.message
    assert "door.toml" in caught.value.message
