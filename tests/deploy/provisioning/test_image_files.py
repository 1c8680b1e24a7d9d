"""What goes into images: the list for Imager, the layer for rpi-image-gen, and what two slots share."""

from __future__ import annotations

import hashlib
import json
import lzma
import re
from datetime import date
from pathlib import Path

import msgspec
import pytest
import yaml
from paths import ROOT

from vedette.deploy.provisioning.imager_list import describe_image
from vedette.runtime.config.configuration import SYSTEM_FOLDER, SYSTEM_STATE
from vedette.runtime.errors import ConfigProblem

IMAGE = ROOT / "deploy" / "image"
# doc/json-schema/os-list-schema.json of raspberrypi/rpi-imager: what an entry must have, and its types.
REQUIRED = {
    "name": str,
    "description": str,
    "icon": str,
    "url": str,
    "extract_size": int,
    "extract_sha256": str,
    "image_download_size": int,
    "release_date": str,
}


def test_an_entry_for_imager_has_what_its_schema_asks_for(tmp_path: Path) -> None:
    content = b"an image" * 5000
    path = tmp_path / "vedette.img.xz"
    path.write_bytes(lzma.compress(content))
    made = describe_image(path, "https://x/vedette.img.xz", "Vedette", "A", "icons/a.png", "none", date(2026, 3, 1))
    entry = json.loads(msgspec.json.encode(made))
    assert {key: type(entry[key]) for key in REQUIRED} == REQUIRED
    assert entry["extract_size"] == len(content)
    assert entry["extract_sha256"] == hashlib.sha256(content).hexdigest()
    assert entry["image_download_size"] == path.stat().st_size
    assert entry["release_date"] == "2026-03-01"


def test_a_damaged_image_gets_no_entry(tmp_path: Path) -> None:
    path = tmp_path / "vedette.img.xz"
    path.write_bytes(lzma.compress(b"an image" * 5000)[:-9])
    with pytest.raises(ConfigProblem, match="vedette"):
        describe_image(path, "https://x", "Vedette", "A", "a", "none", date(2026, 3, 1))


def test_both_slots_share_state_and_configuration() -> None:
    lines = [line for line in (IMAGE / "slot-shared.conf").read_text().splitlines() if not line.startswith("#")]
    assert lines == ["Version=1", f"Path={SYSTEM_STATE}", f"Path={SYSTEM_FOLDER}"]


def test_the_layer_is_one_and_its_configuration_sets_what_it_declares() -> None:
    text = (IMAGE / "layer" / "vedette.yaml").read_text()
    head, _, body = text.partition("# METAEND\n")
    assert head.startswith("# METABEGIN\n")
    assert "# X-Env-Layer-Name: vedette\n" in head
    declared = set(re.findall(r"^# X-Env-Var-([a-z]+):", head, re.MULTILINE))
    hooks = yaml.safe_load(body)["mmdebstrap"]["customize-hooks"]
    assert set(re.findall(r"\$IGconf_vedette_([a-z]+)", "\n".join(hooks))) == declared
    configuration = yaml.safe_load((IMAGE / "config" / "vedette.yaml").read_text())
    assert set(configuration["vedette"]) == declared
    assert configuration["layer"] == {"app": "vedette"}
