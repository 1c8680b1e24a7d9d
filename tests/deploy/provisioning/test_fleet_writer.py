"""A folder of cards appears whole, stays the same for the same table, and gives every box what no other has."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from paths import ROOT

from vedette.deploy.provisioning import fleet_writer
from vedette.deploy.provisioning.certificate_authority import CertificateAuthority
from vedette.deploy.provisioning.cloud_init import render_yaml
from vedette.deploy.provisioning.fleet_settings import FleetBroker, FleetSettings
from vedette.deploy.provisioning.fleet_table import Box, BoxCamera
from vedette.deploy.provisioning.fleet_writer import Provisioned, write_fleet
from vedette.deploy.provisioning.labels import render_labels
from vedette.deploy.seed import read_seed
from vedette.runtime.errors import ConfigProblem

SCHEMA = "usr/lib/python3/dist-packages/cloudinit/config/schemas/schema-cloud-config-v1.json"
SCHEMAS = [path for path in (ROOT / "build" / "cloud-init" / SCHEMA, Path("/") / SCHEMA) if path.exists()]
CAMERA = BoxCamera("camera", "v4l2:/dev/video0", "cells.vedette")
TLS = FleetSettings(FleetBroker(url="mqtts://127.0.0.1:8883"))
PLAIN = FleetSettings(FleetBroker(url="mqtt://127.0.0.1:1884", login="password"))
ONE = (Box("box1", cameras=(CAMERA,)),)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def write(
    boxes: tuple[Box, ...], out: Path, authority: CertificateAuthority | None = None, labels: bool = False
) -> Provisioned:
    settings = TLS if authority else PLAIN
    return write_fleet(boxes, settings, {"a.pub": "key"}, out, out.parent, authority, "svg" if labels else None)


def check_unique(out: Path, names: list[str]) -> None:
    """Every box has a seed, a key, a certificate and an instance of its own."""
    folders = [out / "boxes" / name for name in names]
    seeds = [read_seed(folder / "vedette.seed") for folder in folders]
    assert [seed.device.name for seed in seeds] == names
    for secret in ("key", "certificate"):
        assert len({getattr(seed.broker, secret) for seed in seeds}) == len(names)
    metas = [yaml.safe_load((folder / "meta-data").read_text()) for folder in folders]
    assert [meta["instance-id"] for meta in metas] == [seed.instance for seed in seeds]
    assert len({seed.instance for seed in seeds}) == len(names)


def test_boxes_share_no_secret_and_no_instance_but_their_bundle(
    authority: CertificateAuthority, bundle: Path, tmp_path: Path
) -> None:
    names = [f"box{number}" for number in range(8)]
    write(tuple(Box(name, cameras=(CAMERA,)) for name in names), tmp_path / "out", authority)
    check_unique(tmp_path / "out", names)
    copies = [tmp_path / "out" / "boxes" / name / bundle.name for name in names]
    assert all(copy.read_bytes() == bundle.read_bytes() for copy in copies)
    assert len({copy.stat().st_ino for copy in copies}) == 1


@pytest.mark.slow
@pytest.mark.skipif(not SCHEMAS, reason="the schema of cloud-init is not there: tests/servers fetches it")
def test_a_hundred_rows_become_a_hundred_valid_cards(
    tmp_path: Path, bundle: Path, record_proof: Callable[..., None]
) -> None:
    import jsonschema

    names = [f"box-{number:03}" for number in range(100)]
    rows = [f"{name},10.1.0.{number + 10}/16,v4l2:/dev/video0,{bundle.name}" for number, name in enumerate(names)]
    (tmp_path / "fleet.csv").write_text("\n".join(["name,address,source,bundle", *rows]) + "\n")
    (tmp_path / "fleet.toml").write_text('[broker]\nurl = "mqtts://broker.plant"\n[defaults]\ntimezone = "UTC"\n')
    vedette = [sys.executable, "-m", "vedette.runtime.cli"]
    subprocess.run([*vedette, "ca", "init", "ca"], check=True, cwd=tmp_path)
    started = time.monotonic()
    options = ["--settings", "fleet.toml", "--ca", "ca", "--out", "out", "--keys-in-image"]
    command = [*vedette, "provision", "fleet.csv", *options]
    subprocess.run(command, check=True, cwd=tmp_path)
    seconds = round(time.monotonic() - started, 1)
    check_unique(tmp_path / "out", names)
    validator = jsonschema.Draft4Validator(json.loads(SCHEMAS[0].read_text()))
    texts = [(tmp_path / "out" / "boxes" / name / "user-data").read_text() for name in names]
    invalid = sum(not validator.is_valid(yaml.safe_load(text)) for text in texts)
    record_proof(tries=len(names), losses=invalid, seconds_to_write=seconds)
    assert invalid == 0


@pytest.mark.skipif(not SCHEMAS, reason="the schema of cloud-init is not there: tests/servers fetches it")
def test_user_data_is_valid_by_the_schema_of_cloud_init(tmp_path: Path, bundle: Path) -> None:
    import jsonschema

    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB user@host"
    boxes = (*ONE, Box("b_2.x", timezone="Europe/Berlin", ssh_key=key))
    write(boxes, tmp_path / "out")
    validator = jsonschema.Draft4Validator(json.loads(SCHEMAS[0].read_text()))
    for box in boxes:
        text = (tmp_path / "out" / "boxes" / box.name / "user-data").read_text()
        assert text.startswith("#cloud-config\n")
        assert list(validator.iter_errors(yaml.safe_load(text))) == []
    assert yaml.safe_load(text)["hostname"] == "b-2-x"
    assert list(validator.iter_errors({"hostname": 1}))  # the schema refuses something


def test_network_of_a_row(tmp_path: Path) -> None:
    fixed = Box("a", address="10.0.0.7/24", gateway="10.0.0.1", dns=("10.0.0.2", "10.0.0.3"))
    wireless = Box("b", wifi_ssid='yes: "#1"', wifi_password="p: #'x\\y", wifi_country="DE")
    write((fixed, wireless), tmp_path / "out")
    read = [yaml.safe_load((tmp_path / f"out/boxes/{name}/network-config").read_text()) for name in ("a", "b")]
    cable = read[0]["ethernets"]["eth0"]
    assert cable["addresses"] == ["10.0.0.7/24"]
    assert cable["routes"] == [{"to": "0.0.0.0/0", "via": "10.0.0.1"}]
    assert cable["nameservers"] == {"addresses": ["10.0.0.2", "10.0.0.3"]}
    assert cable["dhcp4"] is False
    radio = read[1]["wifis"]["wlan0"]
    assert radio["access-points"] == {'yes: "#1"': {"password": "p: #'x\\y"}}
    assert radio["dhcp4"] is True
    assert {each["version"] for each in read} == {2}


@pytest.mark.parametrize("key", ["yes", "null", "1", "a b", "é", "-", "x: y", "#", "on"])
def test_yaml_reads_every_key_and_text_back(key: str) -> None:
    value = {key: {"list": [key, 1, True], "maps": [{"a": key, "b": [key]}, {"c": {}}], "empty": []}}
    assert yaml.safe_load(render_yaml(value)) == value


def test_the_same_table_gives_the_same_folder(authority: CertificateAuthority, bundle: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert write(ONE, out, authority, labels=True).new == ("box1",)
    before = contents(out)
    (out / "mine.txt").write_text("somebody's own")
    assert write(ONE, out, authority, labels=True) == Provisioned((), (), (), (), ())
    assert contents(out) == before | {"mine.txt": b"somebody's own"}
    done = write((Box("box0"), *ONE), out, authority, labels=True)
    assert (done.new, done.changed, done.signed) == (("box0",), (), ("box0",))
    assert contents(out / "boxes" / "box1") == contents_below(before, "boxes/box1/")


def contents_below(files: dict[str, bytes], start: str) -> dict[str, bytes]:
    return {name.removeprefix(start): content for name, content in files.items() if name.startswith(start)}


def test_passwords_stay_and_come_back(tmp_path: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    write(ONE, out)
    password = read_seed(out / "boxes/box1/vedette.seed").broker.password
    assert len(password) == 24
    done = write((Box("box2"),), out)
    assert done.gone == ("box1",)
    assert "box1" not in (out / "broker/passwords").read_text()
    write((Box("box2"), *ONE), out)
    assert read_seed(out / "boxes/box1/vedette.seed").broker.password == password
    assert read_seed(out / "boxes/box2/vedette.seed").broker.password != password


def test_a_change_of_row_revision_bundle_or_certificate_is_a_new_instance(
    authority: CertificateAuthority, bundle: Path, tmp_path: Path
) -> None:
    out, seen = tmp_path / "out", set()
    base = Box("box1", cameras=(CAMERA,))

    def step(box: Box) -> None:
        write((box,), out, authority)
        seen.add(read_seed(out / "boxes/box1/vedette.seed").instance)

    step(base)
    step(Box("box1", cameras=(CAMERA,), site="other"))
    step(Box("box1", cameras=(CAMERA,), revision=2))
    authority.renew(["box1"], 730)
    step(base)
    authority.revoke("box1")
    step(base)
    bundle.write_bytes(b"another bundle")
    fleet_writer.make_card.__globals__["digest_file"].cache_clear()
    step(base)
    assert len(seen) == 6


def test_nothing_is_written_if_something_is_wrong(tmp_path: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    write(ONE, out)
    before = contents(out)
    broken = Box("box2", cameras=(BoxCamera("camera", "v4l2:/dev/video0", "missing.vedette"),))
    with pytest.raises(ConfigProblem, match="missing"):
        write((*ONE, broken), out)
    assert contents(out) == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize("name", ["a:b.vedette", "user-data", "CONFIG.TXT", "a b", "a."])
def test_a_bundle_keeps_its_name_on_a_fat_partition(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigProblem, match="no name for a file on the card"):
        write((Box("b", cameras=(BoxCamera("c", "v4l2:/dev/video0", name),)),), tmp_path / "out")


def test_a_box_is_not_called_as_the_broker(authority: CertificateAuthority, tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="broker's certificate"):
        write((Box("broker-127.0.0.1"),), tmp_path / "out", authority)


def test_a_foreign_folder_is_left_alone(tmp_path: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.txt").write_text("x")
    with pytest.raises(ConfigProblem, match="something else"):
        write(ONE, out)
    assert contents(out) == {"thesis.txt": b"x"}


def test_a_run_that_was_cut_off_between_its_renames_is_mended(tmp_path: Path, bundle: Path) -> None:
    out = tmp_path / "out"
    write(ONE, out)
    password = read_seed(out / "boxes/box1/vedette.seed").broker.password
    (out / "mine.txt").write_text("x")
    out.rename(tmp_path / ".out.old")
    (tmp_path / ".out.part").mkdir()
    write(ONE, out)
    assert read_seed(out / "boxes/box1/vedette.seed").broker.password == password
    assert (out / "mine.txt").exists()
    assert not (tmp_path / ".out.old").exists()
    assert not (tmp_path / ".out.part").exists()


def test_only_the_owner_reads_it(tmp_path: Path, bundle: Path, authority: CertificateAuthority) -> None:
    write(ONE, tmp_path / "out", authority, labels=True)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [tmp_path / "out", *(tmp_path / "out").rglob("*")])


def test_labels_hold_no_secret_and_all_boxes(tmp_path: Path, bundle: Path, authority: CertificateAuthority) -> None:
    boxes = (*ONE, Box("box2", note="<b>Halle & Hof</b>"))
    write(boxes, tmp_path / "out", authority, labels=True)
    labels = tmp_path / "out" / "labels"
    assert {path.name for path in labels.iterdir()} == {"labels.csv", "labels.html", "box1.svg", "box2.svg"}
    page = (labels / "labels.html").read_text()
    assert page.count("<svg") == 2
    assert "&lt;b&gt;Halle &amp; Hof" in page
    assert "vedette/v1/site/area/line/box1" in (labels / "labels.csv").read_text()
    assert "PRIVATE" not in "".join(path.read_text() for path in labels.iterdir())


def test_a_reader_of_codes_reads_the_place_of_the_box(tmp_path: Path) -> None:
    files = render_labels((Box("box_1.x", site="werk-2"),), {"box_1.x": "i"}, "vedette", "png")
    picture = cv2.imdecode(np.frombuffer(files["box_1.x.png"], np.uint8), cv2.IMREAD_GRAYSCALE)
    text, _, _ = cv2.QRCodeDetector().detectAndDecode(picture)
    assert text == "vedette/v1/werk-2/area/line/box_1.x"


@pytest.mark.skipif(shutil.which("mosquitto_passwd") is None, reason="mosquitto_passwd is not installed")
def test_password_lines_have_the_form_of_mosquitto(tmp_path: Path, bundle: Path) -> None:
    write(ONE, tmp_path / "out")
    theirs = tmp_path / "theirs"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(theirs), "box1", "x"], check=True, capture_output=True)
    form = re.sub(r"[A-Za-z0-9+/]", "x", theirs.read_text().split("$", 3)[3])
    ours = (tmp_path / "out/broker/passwords").read_text().splitlines()
    assert [line.split(":")[0] for line in ours] == ["vedette-operator", "vedette-reader", "box1"]
    for line in ours:
        assert re.sub(r"[A-Za-z0-9+/]", "x", line.split("$", 3)[3]) == form.strip()


def test_labels_need_segno_before_anything_is_written(
    tmp_path: Path, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "segno", None)
    with pytest.raises(Exception, match="segno") as caught:
        write(ONE, tmp_path / "out", labels=True)
    assert "vedette[provision]" in caught.value.hint  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()
