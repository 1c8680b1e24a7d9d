"""Reference parts in front of the real daemon: the output is locked until they have passed, over a kill."""

from __future__ import annotations

import json
import socket
import threading

import pytest
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from pymodbus.client import ModbusTcpClient

from vedette.runtime.line.golden_messages import GoldenCommand
from vedette.runtime.line.line_control import send_command


class Line:
    """The daemon, with a controller in front of it and a subscriber behind it."""

    def __init__(self, device, images, broker_port, subscriber, wait_until):
        self.device, self.subscriber, self.wait_until = device, subscriber, wait_until
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        device.configure(f"file:{images}?fps=0", f"mqtt://127.0.0.1:{broker_port}")
        device.set_rules(
            f'[trigger]\nsource = "modbus://127.0.0.1:{self.port}"\ndeadline = 60.0\ndepth = 64\n'
            "[golden_parts]\ngood = 2\nbad = 1\nmqtt = true\n"
        )
        self.parts = 0

    def start(self):
        self.process = self.device.start()
        self.client = ModbusTcpClient("127.0.0.1", port=self.port, timeout=30)
        self.wait_until(self.client.connect, "the Modbus server", 60)
        self.counter = 0

    def kill(self):
        self.client.close()
        self.process.kill()
        self.process.wait()

    def part(self):
        """A part passes; returns its verdict, and the reason of an error."""
        self.counter += 1
        self.parts += 1
        self.client.write_register(1, self.counter)
        self.wait_until(lambda: self.parts in self.verdicts(), f"the verdict on part {self.parts}", 60)
        verdict = self.verdicts()[self.parts]
        return verdict["reason"] or verdict["verdict"]

    def verdicts(self):
        events = [event["data"] for event in self.subscriber.events if event["type"] == "vedette.part.verdict"]
        return {int(each["part"]): each for each in events}

    def kinds(self):
        found = {event["id"]: event for event in self.subscriber.events if ".golden_part." in event["type"]}
        ordered = sorted(found.values(), key=lambda event: int(event["sequence"]))
        return [(event["type"].rpartition(".")[2], event["data"]) for event in ordered]

    def command(self, action, by=""):
        answer = send_command(self.device.folder / "state" / "door", GoldenCommand(action, by))
        assert answer is not None
        return answer


@pytest.fixture
def line(daemon_process, line_images, mosquitto, subscribe, wait_until):
    subscriber = subscribe(mosquitto.port)
    wait_until(subscriber.subscribed.is_set, "the subscription")
    return Line(daemon_process, line_images, mosquitto.port, subscriber, wait_until)


def publish(line, payload, correlation):
    properties = Properties(PacketTypes.PUBLISH)
    properties.ResponseTopic = "test/v1/plant/hall/line1/box/res/kim"
    properties.CorrelationData = correlation
    topic = "test/v1/plant/hall/line1/box/cmd/golden-part"
    line.subscriber.client.publish(topic, json.dumps(payload), qos=1, properties=properties)


def acknowledge_from_afar(line, port, call_vedette):
    far = ("fleet", "golden-part", "door", "--broker", f"mqtt://127.0.0.1:{port}", "--prefix", "test")
    told = call_vedette(*far, "--show")
    assert "the output is locked (reference_failed)" in told.stdout
    assert call_vedette(*far, "--acknowledge").returncode == 2, "without a key"
    key = line.device.keys / "vedette.key"
    told = call_vedette(*far, "--acknowledge", "--by", "Kim", "--key", key)
    assert told.returncode == 0, told.stderr
    assert "let the references pass" in told.stdout


@pytest.mark.slow
def test_output_is_locked_until_the_references_pass(line, mosquitto, call_vedette, wait_until):
    """The pictures are two good parts, a bad one, and so on; a restart begins with the first again."""
    line.start()
    assert line.part() == "references_due"
    assert line.command("begin", "Kim").awaited == 3
    assert [line.part() for _ in range(3)] == ["accept", "accept", "reject"]
    shown = line.command("show")
    assert (shown.outcome, shown.lock) == ("passed", "")
    assert line.part() == "accept"

    line.command("begin", "Kim")
    assert line.part() == "accept"
    assert line.part() == "reject"  # of the two that are known to be good
    assert line.command("show").outcome == "failed"
    assert line.part() == "reference_failed"
    report = json.loads(call_vedette("status", "door", "--json", "--config", line.device.folder).stdout)
    assert "the output is locked: a reference part was judged wrong" in report[0]["faults"]
    line.kill()

    line.start()
    assert line.part() == "reference_failed", "a restart forgot the lock"
    publish(line, {"camera": "yard", "action": "acknowledge", "by": "Kim"}, b"other camera")
    publish(line, {"camera": "door", "action": "acknowledge", "by": "Kim"}, b"unsigned")
    publish(line, {"camera": "door", "action": "begin", "by": "Kim"}, b"unsigned begin")
    answers = lambda: {  # noqa: E731
        message.properties.CorrelationData: json.loads(message.payload)
        for message in line.subscriber.messages
        if message.topic.endswith("/res/kim")
    }
    wait_until(lambda: {b"unsigned", b"unsigned begin"} <= {*answers()}, "the answers")
    for name in (b"unsigned", b"unsigned begin"):
        assert answers()[name]["error"].startswith("not signed")
        assert (answers()[name]["unacknowledged"], answers()[name]["awaited"]) == ("reference_failed", None)
    assert b"other camera" not in answers()
    assert line.part() == "reference_failed", "what is not signed unlocks nothing"
    acknowledge_from_afar(line, mosquitto.port, call_vedette)
    assert line.part() == "references_due"
    line.command("begin")
    assert [line.part() for _ in range(3)] == ["accept", "accept", "reject"]
    assert line.part() == "accept"

    wanted = ["locked", "begun", "passed", "begun", "failed", "acknowledged", "begun", "passed"]
    wait_until(lambda: [kind for kind, _ in line.kinds()] == wanted, "the events")
    facts = [each for _, each in line.kinds()]
    assert (facts[1]["by"], facts[1]["lock"], facts[5]["by"]) == ("Kim", "references_due", "Kim")
    assert facts[1]["user"]
    assert facts[5]["user"].startswith("key ")
    assert [each["verdict"] for each in facts[4]["parts"]] == ["accept", "reject"]
    assert facts[6]["by"] == facts[6]["user"], "without a name it is the user of the device"
    references = [each["reference"] for _, each in sorted(line.verdicts().items())]
    assert references[:6] == ["", "good", "good", "bad", "", "good"]

    def count_published():
        return json.loads(line.subscriber.latest("stats/part") or "{}").get("total", {}).get("parts")

    ordinary = references.count("")
    wait_until(lambda: count_published() == ordinary, "the numbers of the shift", 60)


@pytest.mark.slow
def test_command_waits_for_the_parts_and_tells_each(line, run_vedette, call_vedette, wait_until):
    line.start()
    done = []

    def check():
        done.append(run_vedette("golden-part", "door", "--by", "Kim", "--config", line.device.folder))

    for parts, code in ((3, 0), (1, 0), (2, 1)):
        if parts == 1:
            assert line.part() == "accept"
            continue
        thread = threading.Thread(target=check)
        thread.start()
        wait_until(lambda: line.command("show").awaited == 3, "the announcement", 60)
        for _ in range(parts):
            line.part()
        thread.join(60)
        assert done[-1].returncode == code, done[-1].stdout + done[-1].stderr
    assert "known bad, reject" in done[0].stdout
    assert "the line may run" in done[0].stdout
    assert "WRONG" in done[1].stdout
    assert "locked (reference_failed)" in done[1].stdout
    told = call_vedette("golden-part", "door", "--acknowledge", "--by", "Lee", "--config", line.device.folder)
    assert told.returncode == 0
    assert "let the references pass" in told.stdout
    again = call_vedette("golden-part", "door", "--acknowledge", "--config", line.device.folder)
    assert again.returncode == 2
    assert "nothing waits to be acknowledged" in again.stderr
    line.kill()
    gone = call_vedette("golden-part", "door", "--show", "--config", line.device.folder)
    assert gone.returncode == 4
    assert "its daemon is not running" in gone.stderr
