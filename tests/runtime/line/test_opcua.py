"""OPC UA over real sockets: asyncua's client in front of our server, its server in front of our client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any, ClassVar

import pytest
from asyncua import Client, Server, ua
from asyncua.crypto.cert_gen import generate_private_key, generate_self_signed_app_certificate
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import UniformResourceIdentifier
from cryptography.x509.oid import ExtendedKeyUsageOID
from line_inputs import RecordedInputs

from vedette.runtime.config.configuration import load_config
from vedette.runtime.config.product_table import NO_PRODUCT
from vedette.runtime.errors import ConfigProblem, MachineProblem
from vedette.runtime.line.adapters import load_adapter
from vedette.runtime.line.adapters.node_signals import NodeSignals, list_values
from vedette.runtime.line.handshake import Outputs


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def configure(folder, address, more=""):
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text("")
    (folder / "cameras" / "door.toml").write_text(
        f'source = "file:parts"\nbundle = "x.vedette"\n[trigger]\nsource = "opcua://{address}"\n{more}\n'
    )
    return load_config(folder, "door")


def make_certificate(folder, name, use):
    """A self-signed certificate as OPC UA has them: NAME.pem and NAME-key.pem."""
    key = generate_private_key()
    usage = [ExtendedKeyUsageOID.SERVER_AUTH if use == "server" else ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [UniformResourceIdentifier(f"urn:test:{name}")]
    certificate = generate_self_signed_app_certificate(key, name, {}, names, usage, days=1)
    pem, nobody = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / f"{name}.pem").write_bytes(certificate.public_bytes(pem))
    (folder / f"{name}-key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, nobody))


class Loop:
    """An event loop in a thread, for peers."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def call(self, job, seconds=60):
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(seconds)

    async def _end(self) -> None:
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def close(self) -> None:
        self.call(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)


@pytest.fixture(scope="module")
def peers():
    loop = Loop()
    yield loop
    loop.close()


class Controller:
    """A client of our server."""

    def __init__(self, peers: Loop, client: Client) -> None:
        self.peers, self.client = peers, client

    def node(self, name):
        return self.client.get_node(f"ns=2;s=door.{name}")

    def write(self, **values):
        kinds = {"TriggerCounter": ua.VariantType.UInt32, "ProductIndex": ua.VariantType.UInt16}
        nodes = [self.node(f"Inputs.{name}") for name in values]
        variants = [ua.DataValue(ua.Variant(value, kinds.get(name))) for name, value in values.items()]
        self.peers.call(self.client.write_values(nodes, variants))

    def read(self, name):
        return self.peers.call(self.node(name).read_value())

    def call(self, place, method, *arguments):
        return self.peers.call(self.node(place).call_method(f"2:{method}", *arguments))


@pytest.fixture(scope="module")
def server(peers, tmp_path_factory):
    port = free_port()
    adapter: Any = load_adapter(configure(tmp_path_factory.mktemp("server"), f"127.0.0.1:{port}"))
    inputs = RecordedInputs()
    adapter.start(inputs)
    client = Client(f"opc.tcp://127.0.0.1:{port}/vedette", timeout=20)
    peers.call(client.connect())
    yield adapter, inputs, Controller(peers, client)
    peers.call(client.disconnect())
    adapter.close()
    assert not adapter.thread.is_alive()


@pytest.fixture
def line(server):
    server[1].signals.clear()
    return server


def test_rising_edge_is_a_trigger(line):
    _, inputs, controller = line
    for level in (True, True, False, True, False):
        controller.write(Trigger=level)
    assert inputs.signals == [("trigger", ""), ("trigger", "")]


def test_counter_is_a_trigger_with_serial_and_product(line):
    _, inputs, controller = line
    controller.write(TriggerCounter=7, SerialNumber="AB01", ProductIndex=3)
    controller.write(Acknowledge=True)
    controller.write(Acknowledge=False, SerialNumber="")
    assert inputs.signals[0] == ("product", 3), "before the trigger that comes with it"
    assert inputs.signals[-3:] == [("trigger", "AB01"), ("acknowledge", True), ("acknowledge", False)]
    inputs.signals.clear()
    controller.write(ProductIndex=3)
    assert inputs.signals == [("product", 3)], "each write selects, as after a start of the daemon"


def test_methods_after_opc_40100(line, wait_until):
    adapter, inputs, controller = line
    adapter.show(Outputs(trigger_ready=True))
    wait_until(lambda: controller.read("AutomaticModeStateMachine.CurrentState") == "Ready", "the state")
    assert controller.call("AutomaticModeStateMachine", *JOB) == ["1", 0]
    adapter.show(Outputs(busy=True))
    wait_until(lambda: controller.read("AutomaticModeStateMachine.CurrentState") == "SingleExecution", "the state")
    assert controller.call("AutomaticModeStateMachine", *JOB)[1] == -1, "not ready is told"
    controller.call("ResultManagement", "AcknowledgeResults")
    assert inputs.signals == [
        ("product", 5),
        ("trigger", "S-1"),
        ("product", 5),
        ("trigger", "S-1"),
        ("acknowledge", True),
        ("acknowledge", False),
    ]


JOB = ("StartSingleJob", ua.Variant("S-1", ua.VariantType.String), ua.Variant(5, ua.VariantType.Int32))


def test_outputs_can_be_read_and_not_written(line, wait_until):
    adapter, inputs, controller = line
    adapter.show(Outputs(trigger_ready=True, results_ready=True, ng=True, part=65538, product=7))
    wait_until(lambda: controller.read("Outputs.ResultsReady"), "the outputs")
    names = ("TriggerReady", "Busy", "OK", "NG", "Warn", "Error", "Part", "Verdict", "ProductIndex")
    assert [controller.read(f"Outputs.{name}") for name in names] == [
        True, False, False, True, False, False, 65538, 3, 7,
    ]  # fmt: skip
    assert controller.read("ResultManagement.ResultReady")
    for job in (controller.node("Outputs.OK").write_value(True), controller.node("Inputs.Trigger").write_value("text")):
        with pytest.raises(ua.UaStatusCodeError):
            controller.peers.call(job)
    with pytest.raises((ua.UaError, TimeoutError)):
        controller.peers.call(delete(controller.client, controller.node("Inputs.Trigger")))
    assert inputs.signals == []
    assert not controller.read("Outputs.OK")


async def delete(client, node):
    _, statuses = await client.delete_nodes([node])
    statuses[0].check()


def test_every_result_is_seen_by_a_subscription(line, wait_until):
    adapter, _, controller = line
    seen: list[tuple[str, object]] = []

    class Handler:
        def datachange_notification(self, node, value, _data):
            seen.append((node.nodeid.Identifier.split(".")[-1], value))

    async def subscribe():
        subscription = await controller.client.create_subscription(10, Handler())
        nodes = [controller.node(f"Outputs.{name}") for name in ("ResultsReady", "OK", "NG")]
        await subscription.subscribe_data_change(nodes, queuesize=100, sampling_interval=0)
        return subscription

    adapter.show(Outputs())
    subscription = controller.peers.call(subscribe())
    for part in range(5):
        adapter.show(Outputs(results_ready=True, ok=part % 2 == 0, ng=part % 2 == 1, part=part + 1))
        adapter.show(Outputs())
    wait_until(lambda: [value for name, value in seen if name == "ResultsReady"].count(True) == 5, "five results")
    assert [value for name, value in seen if name == "OK"].count(True) == 3
    controller.peers.call(subscription.delete())


@pytest.mark.slow  # each server of asyncua takes 3 s of processor time until it listens
def test_lost_client_is_told(peers, tmp_path, wait_until):
    port = free_port()
    adapter, inputs = load_adapter(configure(tmp_path, f"127.0.0.1:{port}")), RecordedInputs()
    adapter.start(inputs)
    try:
        assert "no client" in adapter.fault
        client = Client(f"opc.tcp://127.0.0.1:{port}/vedette", timeout=20)
        peers.call(client.connect())
        wait_until(lambda: adapter.fault == "", "the client")
        peers.call(client.disconnect())
        wait_until(lambda: "no client" in adapter.fault, "the loss")
        taken = load_adapter(configure(tmp_path, f"127.0.0.1:{port}"))
        with pytest.raises(MachineProblem, match="cannot listen"):
            taken.start(inputs)
    finally:
        adapter.close()


@pytest.mark.slow
def test_only_trusted_clients_come_in(peers, tmp_path):
    for name, use in (("device", "server"), ("plc", "client"), ("stranger", "client")):
        make_certificate(tmp_path, name, use)
    cameras = tmp_path / "cameras"
    (cameras / "trusted").mkdir(parents=True)
    (cameras / "trusted" / "plc.pem").write_bytes((tmp_path / "plc.pem").read_bytes())
    port = free_port()
    keys = "certificate=../device.pem&key=../device-key.pem&trusted=trusted"
    adapter, inputs = load_adapter(configure(tmp_path, f"127.0.0.1:{port}?{keys}")), RecordedInputs()
    adapter.start(inputs)

    async def trigger(name):
        client = Client(f"opc.tcp://127.0.0.1:{port}/vedette", timeout=20)
        if name:
            client.application_uri = f"urn:test:{name}"
            own, key, device = (str(tmp_path / f"{each}.pem") for each in (name, f"{name}-key", "device"))
            await client.set_security(SecurityPolicyBasic256Sha256, own, key, server_certificate=device)
        async with client:
            await client.get_node("ns=2;s=door.Inputs.Trigger").write_value(True)

    try:
        for name in ("", "stranger"):
            with pytest.raises((ua.UaError, OSError, TimeoutError)):
                peers.call(trigger(name))
        assert inputs.signals == []
        peers.call(trigger("plc"))
        assert inputs.signals == [("trigger", "")]
    finally:
        adapter.close()


@pytest.mark.parametrize(
    ("address", "more", "problem"),
    [
        ("0.0.0.0:4840", "", "open to everybody"),
        ("plc:4840?trigger=ns=2;s=T", "", "open to everybody"),
        ("127.0.0.1?certificate=a.pem", "", "need each other"),
        ("127.0.0.1?ok=ns=2;s=OK", "", "needs trigger=NODE"),
        ("127.0.0.1?trigger=ns=2;s=T", "acknowledge = true", "no node for the acknowledgment"),
        ("127.0.0.1?certificate=a.pem&key=b&trusted=c", "", "No such file"),
        ("127.0.0.1?lamp=1", "", "known options"),
    ],
)
def test_wrong_options_are_told(tmp_path, address, more, problem):
    with pytest.raises(ConfigProblem) as raised:
        load_adapter(configure(tmp_path, address, more))
    assert problem in f"{raised.value.message} {raised.value.hint}"


def test_open_networks_are_possible_if_they_are_meant(tmp_path):
    assert load_adapter(configure(tmp_path, "0.0.0.0:4840?security=none"))


class Plc:
    """A line controller that is an OPC UA server, as PLCs are; asyncua's own."""

    NAMES: ClassVar = {
        "Trigger": 9,
        "Ack": False,
        "Product": 3,
        "Serial": "AB01",
        "OK": False,
        "Ready": False,
        "Part": 0,
    }

    def __init__(self, peers: Loop, port: int) -> None:
        self.peers = peers
        peers.call(self._start(port))

    async def _start(self, port: int) -> None:
        self.server = Server()
        await self.server.init()
        self.server.set_security_policy([ua.SecurityPolicyType.NoSecurity])
        self.server.set_endpoint(f"opc.tcp://127.0.0.1:{port}/plc")
        await self.server.register_namespace("urn:plc")
        folder = await self.server.nodes.objects.add_object("ns=2;s=Line", "2:Line")
        for name, first in self.NAMES.items():
            kind = ua.VariantType.UInt16 if name in ("Trigger", "Part") else None
            node = await folder.add_variable(f"ns=2;s={name}", f"2:{name}", first, kind)
            await node.set_writable()
        await self.server.start()

    def write(self, name, value, kind=None):
        self.peers.call(self.server.get_node(f"ns=2;s={name}").write_value(value, kind))

    def read(self, name):
        return self.peers.call(self.server.get_node(f"ns=2;s={name}").read_value())

    def close(self):
        self.peers.call(self.server.stop())


@pytest.mark.slow
def test_client_subscribes_and_writes(peers, tmp_path, wait_until):
    port = free_port()
    plc, kind = Plc(peers, port), ua.VariantType.UInt16
    nodes = {"acknowledge": "Ack", "product": "Product", "serial": "Serial", "ok": "OK", "results_ready": "Ready"}
    options = "&".join(f"{signal}=ns=2;s={node}" for signal, node in (nodes | {"part": "Part"}).items())
    settings = configure(tmp_path, f"127.0.0.1:{port}/plc?trigger=ns=2;s=Trigger&{options}")
    adapter: Any = load_adapter(settings)
    inputs = RecordedInputs()
    adapter.start(inputs)
    try:
        wait_until(lambda: adapter.fault == "" and len(inputs.signals) == 2, "the first values")
        assert sorted(inputs.signals) == [("acknowledge", False), ("product", 3)], "what was set before is no trigger"
        before = time.monotonic()
        plc.write("Trigger", 10, kind)
        wait_until(lambda: inputs.signals[-1] == ("trigger", "AB01"), "the trigger")
        assert before <= inputs.times[0] <= time.monotonic()
        plc.write("Serial", "AB02")
        plc.write("Trigger", 13, kind)
        wait_until(lambda: inputs.signals[-1] == ("trigger", "AB02"), "the trigger")
        assert [name for name, _ in inputs.signals[-3:]] == ["miss", "miss", "trigger"], "the counter went on by three"
        plc.write("Ack", True)
        wait_until(lambda: inputs.signals[-1] == ("acknowledge", True), "the acknowledgment")
        adapter.show(Outputs(results_ready=True, ok=True, part=70000 % 65536))
        wait_until(lambda: plc.read("Ready"), "results ready")
        assert plc.read("OK") is True
        assert plc.read("Part") == 4464

        plc.close()
        wait_until(lambda: adapter.fault, "the loss")
        plc = Plc(peers, port)
        wait_until(lambda: adapter.fault == "" and plc.read("OK"), "the connection")
        assert [name for name, _ in inputs.signals].count("trigger") == 2, "a value from before is no trigger"
        plc.write("Trigger", 14, kind)
        wait_until(lambda: [name for name, _ in inputs.signals].count("trigger") == 3, "the trigger")
        adapter.show(Outputs())
    finally:
        adapter.close()
    assert plc.read("OK") is False, "the last outputs reach the line"
    assert not adapter.thread.is_alive()
    plc.close()


def test_values_become_signals():
    inputs = RecordedInputs()
    signals = NodeSignals(inputs, {})
    signals.see({"trigger": True, "acknowledge": True, "product": 4})
    assert inputs.signals == [("product", 4), ("acknowledge", True)]
    signals.see({"trigger": False})
    signals.see({"trigger": True, "serial": "  S-1 "})
    signals.see({"trigger": None})  # the line has lost it
    signals.see({"trigger": True})
    signals.see({"product": None})
    assert inputs.signals[2:] == [("trigger", "S-1"), ("product", NO_PRODUCT)]
    inputs.signals.clear()
    counted = NodeSignals(inputs, {"counter": 65535})
    counted.see({"counter": 0})
    counted.see({"counter": 500})
    counted.see({"counter": 502})
    assert [name for name, _ in inputs.signals] == ["trigger", "trigger", "miss", "trigger"]


def test_results_ready_is_set_last_and_taken_away_first():
    assert list(list_values(Outputs(results_ready=True)))[-1] == "results_ready"
    assert next(iter(list_values(Outputs()))) == "results_ready"
