"""Triggers over a real broker."""

from __future__ import annotations

import json
import time

from line_inputs import RecordedInputs

from vedette.runtime.config.configuration import load_config
from vedette.runtime.line.adapters import load_adapter
from vedette.runtime.line.handshake import Outputs

ROOT = "test/v1/plant/hall/line1/box"


def test_triggers_and_outputs(tmp_path, mosquitto, subscribe, wait_until):
    (tmp_path / "cameras").mkdir()
    (tmp_path / "vedette.toml").write_text(
        '[device]\nname = "box"\nsite = "plant"\narea = "hall"\nline = "line1"\n'
        f'[broker]\nurl = "mqtt://127.0.0.1:{mosquitto.port}"\nprefix = "test"\n'
    )
    (tmp_path / "cameras" / "door.toml").write_text(
        'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\nsource = "mqtt:"\n'
    )
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")

    def publish(topic, content, retain=False):
        subscriber.client.publish(f"{ROOT}/cmd/{topic}/door", content, qos=1, retain=retain).wait_for_publish(10)

    def outputs():
        return [json.loads(each.payload) for each in subscriber.messages if each.topic == f"{ROOT}/line/door"]

    publish("trigger", "", retain=False)
    publish("trigger", '{"serial": "old"}', retain=True)
    adapter, inputs = load_adapter(load_config(tmp_path, "door")), RecordedInputs()
    adapter.start(inputs)
    wait_until(outputs, "the first outputs")
    publish("trigger", '{"serial": "A-1", "product": 2}')
    publish("trigger", "")
    publish("trigger", "[damaged")
    publish("acknowledge", '{"level": true}')
    publish("acknowledge", "?")
    publish("trigger", '{"serial": "last"}')
    wait_until(lambda: ("trigger", "last") in inputs.signals, "the last trigger")
    assert inputs.signals == [
        ("product", 2),
        ("trigger", "A-1"),
        ("trigger", ""),
        ("trigger", ""),
        ("acknowledge", True),
        ("trigger", "last"),
    ]
    adapter.show(Outputs(results_ready=True, ok=True, part=4))
    wait_until(lambda: outputs()[-1]["part"] == 4, "the outputs")
    assert outputs()[-1]["ok"]
    assert not outputs()[-1]["ng"]
    assert adapter.fault == ""
    for _ in range(8):  # what the adapter says at once is not seen if the subscriber of the test comes back later
        mosquitto.kill()
        wait_until(lambda: adapter.fault, "the loss")
        adapter.show(Outputs(part=5))
        subscriber.subscribed.clear()
        mosquitto.start()
        wait_until(lambda: adapter.fault == "" and subscriber.subscribed.is_set(), "the connections")
        time.sleep(1)
        if outputs()[-1]["part"] == 5:
            break
    assert outputs()[-1]["part"] == 5
    adapter.close()
