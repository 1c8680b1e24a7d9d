"""A table is read whole or refused with the line and the column of every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from vedette.deploy.provisioning.fleet_settings import FleetSettings, choose_broker, read_settings
from vedette.deploy.provisioning.fleet_table import Box, read_table
from vedette.runtime.errors import ConfigProblem


def table(tmp_path: Path, text: str, **defaults: str | int) -> tuple[Box, ...]:
    path = tmp_path / "fleet.csv"
    path.write_bytes(text.encode())
    return read_table(path, defaults)


def test_cells_defaults_and_several_cameras(tmp_path: Path) -> None:
    text = (
        "\ufeffName;site;note;address;source;bundle;camera2;source2\r\n"
        'box1;plant;"oben; links";10.0.0.7/24;v4l2:/dev/video0;;belt;rtsp://10.0.0.9/1\r\n'
        ";;;;;;;\r\n"
        "box2;;;;;installed:cells;;\r\n"
    )
    first, second = table(tmp_path, text, bundle="a.vedette", site="other", revision=3)
    assert (first.site, first.note, first.address, first.revision) == ("plant", "oben; links", "10.0.0.7/24", 3)
    assert [(each.name, each.source, each.bundle) for each in first.cameras] == [
        ("camera", "v4l2:/dev/video0", "a.vedette"),
        ("belt", "rtsp://10.0.0.9/1", "a.vedette"),
    ]
    assert (second.site, second.cameras) == ("other", ())


@pytest.mark.parametrize(
    ("text", "place", "part"),
    [
        ("name,colour\nbox1,red\n", ":1: column 'colour'", "unknown"),
        ("name,name\nbox1,b\n", ":1: column 'name'", "twice"),
        ("site\nplant\n", ":1: column 'name'", "missing"),
        ("name\nbox1\nbox2\nBox1\n", ":4: column 'name'", "line 2"),
        ("name,revision\nbox1,0\nbox1,0\n", ":3: column 'name'", "line 2"),  # told beside other mistakes
        ("name\nbox/1\n", ":2: column 'name'", "not a name"),
        ("name\n-\nvedette-operator\n", ":3: column 'name'", "user of the broker"),
        (f"name\n{'b' * 64}\n", ":2: column 'name'", "longer"),
        ("name,site\n,plant\n", ":2: column 'name'", "empty"),
        ("name,address\nb,10.0.0.1\n", ":2: column 'address'", "prefix"),
        ("name,address\na,10.0.0.1/8\nb,10.0.0.1/8\n", ":3: column 'address'", "line 2"),
        ("name,gateway\nb,10.0.0.1\n", ":2: column 'address'", "gateway needs it"),
        ("name,wifi_ssid\nb,net\n", ":2: column 'wifi_country'", "wifi_ssid needs it"),
        ("name,timezone\nb,Europe/Atlantis\n", ":2: column 'timezone'", "no time zone"),
        ("name,revision\nb,0\n", ":2: column 'revision'", "whole number"),
        ("name,source\nb,v4l2:/dev/video0\n", ":2: column 'bundle'", "source needs it"),
        ("name,source,bundle\nb,ftp://x/y,a\n", ":2: column 'source'", "begins with"),
        ("name,source,bundle\nb,rtsp://u:secret@x/y,a\n", ":2: column 'source'", "no user and password"),
        ("name,ssh_key\nb,-----BEGIN OPENSSH PRIVATE KEY-----\n", ":2: column 'ssh_key'", "public key"),
        ("name\nb,c\n", ":2: column 'name'", "2 cells"),
        ('name\n"b\n', ":2:", "unexpected end"),
        ("name\n", "", "no boxes"),
    ],
)
def test_a_mistake_is_named_by_line_and_column(tmp_path: Path, text: str, place: str, part: str) -> None:
    with pytest.raises(ConfigProblem) as caught:
        table(tmp_path, text)
    assert f"fleet.csv{place}" in caught.value.message
    assert part in caught.value.message


def test_all_mistakes_are_told_at_once_but_no_password(tmp_path: Path) -> None:
    text = "name,wifi_ssid,wifi_country,wifi_password\n/,net,DE,short\nb,net,de,short\n"
    with pytest.raises(ConfigProblem) as caught:
        table(tmp_path, text)
    assert len(caught.value.message.splitlines()) == 4
    assert "short" not in caught.value.message


def test_no_mistake_hides_another(tmp_path: Path) -> None:
    text = (
        "name,colour,revision,name\n"
        "b1,red,0,b1,too,many\n"
        "b2,red,x,b/2\n"
        'b3,"red,0,b3\n'
    )  # fmt: skip
    with pytest.raises(ConfigProblem) as caught:
        table(tmp_path, text)
    lines = [line.partition("fleet.csv:")[2] for line in caught.value.message.splitlines()]
    assert [line.partition(":")[0] for line in lines] == ["1", "1", "1", "2", "2", "3", "3", "4"]
    for part in ("colour", "twice", "6 cells", "revision", "not a name", "quotation marks"):
        assert any(part in line for line in lines), part


def test_a_table_without_names_is_told_once(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem) as caught:
        table(tmp_path, "site,revision\nplant,0\nplant,1\n")
    assert len(caught.value.message.splitlines()) == 2


def test_bytes_that_are_no_text_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "fleet.csv"
    path.write_bytes(b"name,note\nb,ok\nc,M\xfcnchen\n")
    with pytest.raises(ConfigProblem, match=r"csv:3: not UTF-8"):
        read_table(path, {})


@pytest.mark.parametrize(
    ("text", "url", "has_authority", "part"),
    [
        ("", "", True, "which broker"),
        ("", "http://x", True, "mqtt://"),
        ("", "mqtts://x", False, "certificate of the broker"),
        ("", "mqtt://x", True, "need TLS"),
        ('[broker]\nlogin = "none"', "mqtt://x", True, "login"),
        ('[broker]\nprefix = "a/#"', "mqtts://x", True, "prefix"),
        ("[brokers]\n", "mqtts://x", True, "brokers"),
    ],
)
def test_wrong_settings_are_refused(tmp_path: Path, text: str, url: str, has_authority: bool, part: str) -> None:
    path = tmp_path / "fleet.toml"
    path.write_text(text)
    with pytest.raises(ConfigProblem) as caught:
        choose_broker(read_settings(path), url, has_authority)
    assert part in caught.value.message


def test_a_default_of_an_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigProblem, match="colour"):
        table(tmp_path, "name\nb\n", colour="red")


def test_the_port_of_the_boxes_is_not_taken_twice() -> None:
    settings = FleetSettings()
    assert settings.broker.local_port == 1883
    assert choose_broker(settings, "mqtts://x:1883", has_authority=True).broker.local_port == 0
