"""A real mosquitto runs the generated files: who has which certificate or password may do what, and nothing else."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from mosquitto import BINARY, Mosquitto
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from waiting import wait_for

from vedette.deploy.provisioning.certificate_authority import CertificateAuthority
from vedette.deploy.seed import read_seed
from vedette.runtime.cli import main

needs_mosquitto = pytest.mark.skipif(BINARY is None, reason="mosquitto is not installed")
PLACE = "vedette/v1/plant/area/line"
INFO = b'{"device":"box1","model":"cells:3:0f9c2ab1","runtime":"0.1.0","address":"10.0.0.7"}'


class Plant:
    """A table of three boxes, and the broker that runs what `vedette provision` wrote for it."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.table = folder, folder / "out", folder / "fleet.csv"
        self.broker = Mosquitto(folder / "mosquitto")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.local_port = probe.getsockname()[1]
        self.settings = folder / "fleet.toml"
        self.settings.write_text(
            f'[broker]\nurl = "mqtts://127.0.0.1:{self.broker.port}"\nfolder = "{self.out}/broker"\n'
            f'local_port = {self.local_port}\n[defaults]\nsite = "plant"\n'
        )
        self.table.write_text("name\nbox1\nbox2\nbox3\n")
        self.provision()
        bridge = (self.out / "broker/bridge.conf.example").read_text()
        (folder / "bridge").mkdir()
        (folder / "bridge" / "bridge.conf").write_text(bridge.replace("broker.example.com:8883", "127.0.0.1:1"))
        self.broker.config.write_text(
            f"user root\npersistence_location {folder}/mosquitto/\n"
            f"include_dir {self.out}/broker\ninclude_dir {folder}/bridge\n"
        )
        self.start()

    def start(self) -> None:
        self.broker.start()
        wait_for(lambda: send(self.local_port, "x", b"") == "Not authorized", "the second listener")

    def provision(self) -> None:
        arguments = [str(self.table), "--out", str(self.out), "--settings", str(self.settings), "--no-labels"]
        main(["provision", *arguments, "--ca", str(self.folder / "ca")])

    def keep_login(self, name: str) -> ssl.SSLContext:
        """What the box makes of its seed."""
        broker = read_seed(self.out / "boxes" / name / "vedette.seed").broker
        for part in ("ca", "certificate", "key"):
            (self.folder / f"{name}.{part}").write_text(getattr(broker, part))
        context = ssl.create_default_context(cafile=self.folder / f"{name}.ca")
        context.load_cert_chain(self.folder / f"{name}.certificate", self.folder / f"{name}.key")
        return context

    def publish(self, topic: str, payload: bytes, **login: object) -> str:
        """What the broker says to a retained message: the reason of its answer, or why there is none."""
        return send(self.broker.port if "tls" in login else self.local_port, topic, payload, **login)  # type: ignore[arg-type]


def send(
    port: int, topic: str, payload: bytes, tls: ssl.SSLContext | None = None, user: str = "", word: str = ""
) -> str:
    client = Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
    if tls is not None:
        client.tls_set_context(tls)
    if user:
        client.username_pw_set(user, word)
    said = list[str]()
    client.on_connect = lambda _c, _d, _f, reason, _p: said.append(str(reason))
    client.on_publish = lambda _c, _d, _m, reason, _p: said.append(str(reason))
    client.connect_timeout = 30
    try:
        client.connect("127.0.0.1", port)
        while not said and client.loop(1.0) == 0:
            pass
        if said == ["Success"]:
            client.publish(topic, payload, 1, retain=True)
            while len(said) < 2 and client.loop(1.0) == 0:
                pass
    except OSError as error:
        return type(error).__name__
    finally:
        client.disconnect()
    return said[-1] if said else "closed"


@pytest.fixture
def plant(tmp_path: Path, authority: CertificateAuthority) -> Iterator[Plant]:
    plant = Plant(tmp_path)
    yield plant
    plant.broker.kill()


@needs_mosquitto
@pytest.mark.wait
def test_boxes_log_in_with_certificates_and_are_watched_as_they_come_up(
    plant: Plant, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    one, two = plant.keep_login("box1"), plant.keep_login("box2")
    taken = ("Success", "No matching subscribers")

    assert plant.publish(f"{PLACE}/box1/info/camera", INFO, tls=one) in taken
    assert plant.publish(f"{PLACE}/box1/info/camera", INFO, tls=two) == "Not authorized"
    assert plant.publish(f"{PLACE}/box1", INFO, tls=two) == "Not authorized"
    stranger = ssl.create_default_context(cafile=tmp_path / "ca" / "ca.pem")
    assert plant.publish(f"{PLACE}/box1/info/camera", INFO, tls=stranger) not in taken

    operator = (plant.out / "operator/vedette-operator.password").read_text().strip()
    reader = (plant.out / "operator/vedette-reader.password").read_text().strip()
    command = f"{PLACE}/box1/cmd/replay"
    assert plant.publish(command, b"", user="vedette-operator", word=operator) in taken
    assert plant.publish(command, b"", user="vedette-reader", word=reader) == "Not authorized"
    assert plant.publish(command, b"", user="vedette-operator", word=reader) == "Not authorized"
    assert plant.publish(command, b"") == "Not authorized"

    assert plant.publish(f"{PLACE}/box1/availability/camera", b"online", tls=one) in taken
    assert plant.publish(f"{PLACE}/box3/availability/camera", b"online", tls=plant.keep_login("box3")) in taken
    earlier = INFO.replace(b"}", b',"instance":"box2-r1-earlier"}')
    assert plant.publish(f"{PLACE}/box2/info/setup", earlier, tls=two) in taken
    assert plant.publish(f"{PLACE}/box3/info/camera", INFO, tls=plant.keep_login("box3")) in taken
    plant.table.write_text("name\nbox1\nbox2\n")
    watch = ["provision", str(plant.table), "--out", str(plant.out), "--settings", str(plant.settings), "--watch"]
    capsys.readouterr()
    with pytest.raises(SystemExit) as caught:
        main([*watch, "--wait", "1"])
    assert caught.value.code == 1
    printed = capsys.readouterr().out
    assert "came up   plant/area/line/box1  vedette 0.1.0  cells release 3  10.0.0.7" in printed
    assert "waiting   plant/area/line/box2" in printed

    answer = f"{PLACE}/box1/res/fleet/0123456789abcdef"
    assert plant.publish(answer, b"", tls=one) in taken
    assert plant.publish(answer, b"", tls=two) == "Not authorized"
    main(["fleet", "status", "--from", str(plant.out), "--only", "plant/*/*/box1"])
    assert "1 box: 1 online" in capsys.readouterr().out
    assert "unknown   plant/area/line/box3" in printed

    instance = read_seed(plant.out / "boxes/box2/vedette.seed").instance
    plant.publish(f"{PLACE}/box2/info/setup", INFO.replace(b"}", f',"instance":"{instance}"}}'.encode()), tls=two)
    main(watch)
    assert "waiting   plant" not in capsys.readouterr().out

    main(["ca", "revoke", str(tmp_path / "ca"), "box2"])
    plant.provision()
    plant.broker.kill()
    plant.start()
    assert plant.publish(f"{PLACE}/box2/info/camera", INFO, tls=two) not in taken
    assert plant.publish(f"{PLACE}/box1/info/camera", INFO, tls=one) in taken
    assert plant.publish(f"{PLACE}/box2/info/camera", INFO, tls=plant.keep_login("box2")) in taken  # the new card


@needs_mosquitto
@pytest.mark.wait
def test_watch_says_why_it_cannot_listen(plant: Plant, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = plant.folder / "word"
    wrong.write_text("wrong")
    watch = ["provision", str(plant.table), "--out", str(plant.folder / "none"), "--watch"]
    local = ["--broker", f"mqtt://127.0.0.1:{plant.local_port}"]
    with pytest.raises(SystemExit) as caught:
        main([*watch, *local, "--username", "vedette-reader", "--password-file", str(wrong)])
    assert caught.value.code == 2
    with pytest.raises(SystemExit) as caught:
        main([*watch, "--broker", "mqtt://127.0.0.1:1"])
    assert caught.value.code == 4
    with pytest.raises(SystemExit) as caught:
        main(watch)
    assert caught.value.code == 2
    printed = capsys.readouterr().err
    assert "refuses the login" in printed
    assert "which broker" in printed
