"""A camera with two products in front of the real daemon: the line changes the product between two parts."""

from __future__ import annotations

import json
import random
import signal
import socket

import pytest
from page_client import PageClient, make_app
from pymodbus.client import ModbusTcpClient

from vedette.runtime.bundle.bundle import Bundle
from vedette.runtime.bundle.keys import Keyring
from vedette.runtime.config.configuration import load_config
from vedette.runtime.live.product_scores import find_score_folder
from vedette.runtime.live.scores import read_scores
from vedette.runtime.monitoring.status import request_status

WEAVE, KINDS, NOBODY = 3, 11, 7
LABELS = {"weave": {"anomaly", "normal"}, "kinds": {"good", "scratch", "spot"}}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def configure(device, images, url, bundles, port, trigger=""):
    """A camera with the products `weave`, an anomaly model, and `kinds`, a classifier."""
    device.configure(f"file:{images}?fps=0&loop=true", url)
    tables = "".join(
        f'[[products]]\nname = "{name}"\nindex = {index}\nbundle = "{bundle}"\n'
        for (name, index), bundle in zip((("weave", WEAVE), ("kinds", KINDS)), bundles, strict=True)
    )
    device.camera_file.write_text(
        f'source = "file:{images}?fps=0&loop=true"\n'
        f'[trigger]\nsource = "modbus://127.0.0.1:{port}"\ndeadline = 60.0\ndepth = 100\n{trigger}\n{tables}'
    )


def connect(port, wait_until):
    client = ModbusTcpClient("127.0.0.1", port=port, timeout=30)
    wait_until(client.connect, "the Modbus server")
    return client


def verdicts_of(subscriber):
    found = {event["id"]: event["data"] for event in subscriber.events if event["type"] == "vedette.part.verdict"}
    return sorted(found.values(), key=lambda each: int(each["part"]))


def check_scores(device, anomaly_build, class_build):
    """Each product has kept its own scores, and the page shows them."""
    settings = load_config(device.folder, "door")
    keyring = Keyring.read(settings.keys)
    anomaly, kinds = (Bundle.open(each.bundle, keyring).manifest for each in (anomaly_build, class_build))
    first, second = (read_scores(find_score_folder(settings, index)) for index in (WEAVE, KINDS))
    assert first.models == (anomaly.model_id,)
    assert second.models == (kinds.model_id,)
    page = PageClient(make_app(device.folder))
    shown = {index: page.get(f"/threshold/door?product={index}").text for index in (WEAVE, KINDS)}
    assert f'data-now="{anomaly.threshold}"' in shown[WEAVE]
    assert 'aria-current="page">kinds</a>' in shown[KINDS]
    for index, kept in ((WEAVE, first), (KINDS, second)):
        told = json.loads(page.get(f"/threshold/door/replay?value=0&product={index}").body)["note"]
        assert told.startswith(f"{len(kept)} of {len(kept)} parts that were kept")
    assert page.get(f"/threshold/door?product={NOBODY}").status == 404


def test_no_part_is_judged_by_the_model_of_another_product(
    daemon_process, line_images, anomaly_build, class_build, mosquitto, subscribe, wait_until, call_vedette
):
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    port, url = free_port(), f"mqtt://127.0.0.1:{mosquitto.port}"
    configure(daemon_process, line_images, url, (anomaly_build.bundle, class_build.bundle), port)
    process = daemon_process.start()
    client = connect(port, wait_until)

    client.write_register(1, 1)  # before any product was selected
    chosen = random.Random(5).choices([WEAVE, KINDS, NOBODY], [5, 5, 1], k=40)
    for number, index in enumerate(chosen):
        if number % 2:  # product and trigger at once, several in flight
            client.write_registers(0, [index, number + 2])
        else:
            client.write_register(0, index)
            client.write_register(1, number + 2)
    wait_until(lambda: len(verdicts_of(subscriber)) == 41, "a verdict for each part", 60)

    first, *verdicts = verdicts_of(subscriber)
    assert (first["verdict"], first["reason"], first["product"]) == ("error", "unknown_product", "none")
    names = {WEAVE: "weave", KINDS: "kinds"}
    for index, each in zip(chosen, verdicts, strict=True):
        if index == NOBODY:
            assert (each["verdict"], each["reason"]) == ("error", "unknown_product")
            assert (each["product"], each["release"], each["exposed"]) == (f"index {NOBODY}", "", "")
        else:
            assert each["product"] == names[index]
            assert each["release"] == "1"
            assert each["label"] in LABELS[names[index]] or each["reason"] == "unknown_class"
    assert {"weave", "kinds"} <= {each["product"] for each in verdicts}

    report = request_status(load_config(daemon_process.folder, "door").state_folder)
    assert report is not None
    assert report.line is not None
    assert [(each.name, each.index, each.release) for each in report.line.products] == [
        ("weave", WEAVE, "1"),
        ("kinds", KINDS, "1"),
    ]
    weave, kinds = report.line.products
    assert weave.drift is not None
    assert weave.drift.samples >= 1, "its scores are followed beside those of its build"
    assert kinds.drift is None, "a classifier has none"
    counted = {each.name: each.verdicts for each in report.line.products}
    assert counted["kinds"].accept + counted["kinds"].reject + counted["kinds"].error == chosen.count(KINDS)
    printed = call_vedette("status", "door", "--config", daemon_process.folder).stdout
    assert "weave: release 1" in printed

    def count_published():
        numbers = json.loads(subscriber.latest("stats/part") or "{}").get("products", {})
        return [numbers[name]["parts"] for name in names.values() if name in numbers]

    wanted = [chosen.count(index) for index in names]
    wait_until(lambda: count_published() == wanted, "the numbers of both products", 60)
    client.close()
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 0, daemon_process.log()

    check_scores(daemon_process, anomaly_build, class_build)


@pytest.mark.slow
def test_broken_release_of_one_product_does_not_stop_the_other(
    daemon_process, line_images, anomaly_build, class_build, mosquitto, subscribe, wait_until, call_vedette, tmp_path
):
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    port, url = free_port(), f"mqtt://127.0.0.1:{mosquitto.port}"
    broken = tmp_path / "kinds.vedette"
    broken.write_bytes(class_build.bundle.read_bytes()[:-100])
    configure(daemon_process, line_images, url, (anomaly_build.bundle, broken), port, f"product_index = {KINDS}")
    daemon_process.start()
    client = connect(port, wait_until)
    client.write_register(1, 1)
    client.write_registers(0, [WEAVE, 2])
    wait_until(lambda: len(verdicts_of(subscriber)) == 2, "both verdicts", 60)
    first, second = verdicts_of(subscriber)
    assert (first["product"], first["verdict"], first["reason"]) == ("kinds", "error", "not_loaded")
    assert (second["product"], second["reason"]) == ("weave", "")
    assert second["verdict"] in ("accept", "reject")
    assert "the product kinds is not loaded" in call_vedette("status", "--config", daemon_process.folder).stdout
    found = call_vedette("doctor", "door", "--config", daemon_process.folder).stdout
    assert "door weave bundle" in found
    assert "FAIL door kinds bundle" in found
    client.close()


def test_more_products_than_memory_are_told_at_the_start(
    daemon_process, line_images, anomaly_build, class_build, call_vedette
):
    bundles = (anomaly_build.bundle, class_build.bundle)
    configure(daemon_process, line_images, "stdout:", bundles, free_port(), "memory = 1.0")
    done = call_vedette("run", "door", "--config", daemon_process.folder)
    assert done.returncode == 4
    assert "with 1 of 2 products the daemon takes" in done.stderr
    assert "the limit is 1 MB" in done.stderr
