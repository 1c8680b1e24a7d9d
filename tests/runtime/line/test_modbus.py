"""Modbus over real sockets: pymodbus's client in front of our server, its server in front of our client."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest
from line_inputs import RecordedInputs
from pymodbus.client import ModbusTcpClient
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from vedette.runtime.errors import MachineProblem
from vedette.runtime.line.adapters.modbus_client import ModbusClient
from vedette.runtime.line.adapters.modbus_options import ModbusOptions
from vedette.runtime.line.adapters.modbus_server import ModbusServer
from vedette.runtime.line.handshake import Outputs

SERIAL = [0x4142, 0x3031] + [0] * 6  # AB01


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def server():
    port, inputs = free_port(), RecordedInputs()
    server = ModbusServer(("127.0.0.1", port), 1)
    server.start(inputs)
    client = ModbusTcpClient("127.0.0.1", port=port)
    assert client.connect()
    yield server, inputs, client
    client.close()
    server.close()


def test_rising_edge_of_the_coil_is_a_trigger(server):
    _, inputs, client = server
    for level in (True, True, False, True):
        assert not client.write_coil(0, level).isError()
    assert inputs.signals == [("trigger", ""), ("trigger", "")]
    client.write_coils(0, [False, True])
    client.write_coil(1, False)
    assert inputs.signals[2:] == [("acknowledge", True), ("acknowledge", False)]


def test_counter_is_a_trigger_with_serial_and_product(server):
    _, inputs, client = server
    assert not client.write_registers(0, [7, 1, *SERIAL]).isError()
    assert inputs.signals == [("product", 7), ("trigger", "AB01")]
    client.write_register(1, 2)
    assert inputs.signals[2:] == [("trigger", "AB01")]
    assert client.read_input_registers(4, count=2).registers == [0, 2]


def test_every_write_of_the_product_selects_it(server):
    """Also of the number that is there: after a restart the device has forgotten what was selected."""
    _, inputs, client = server
    client.write_register(0, 0)
    client.write_registers(0, [0, 1])
    client.write_register(1, 2)
    assert inputs.signals == [("product", 0), ("product", 0), ("trigger", ""), ("trigger", "")]


def test_outputs_and_last_results_can_be_read(server):
    adapter, _, client = server
    adapter.show(Outputs(trigger_ready=True, results_ready=True, ng=True, heartbeat=True, part=65538, product=7))
    assert client.read_discrete_inputs(0, count=8).bits[:8] == [True, False, True, False, True, False, False, True]
    assert client.read_input_registers(0, count=4).registers == [1, 2, 3, 7]
    adapter.show(Outputs())
    assert client.read_input_registers(0, count=4).registers == [0, 0, 0, 0]
    assert client.read_input_registers(6 + 3 * 2, count=3).registers == [1, 2, 3]


def test_outside_the_map_is_refused(server):
    _, inputs, client = server
    assert client.write_coil(2, True).isError()
    assert client.write_register(10, 1).isError()
    assert inputs.signals == []


def test_port_in_use_is_told():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        server = ModbusServer(("127.0.0.1", taken.getsockname()[1]), 1)
        with pytest.raises(MachineProblem, match="cannot listen"):
            server.start(RecordedInputs())


class Controller:
    """A line controller that is a Modbus server, as PLCs are; pymodbus's own."""

    def __init__(self, port: int) -> None:
        self.port, self.loop = port, asyncio.new_event_loop()
        self.ready = threading.Event()
        self.thread = threading.Thread(target=lambda: self.loop.run_until_complete(self.serve()), daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    async def serve(self) -> None:
        bits = [[SimData(0, count=64, values=False, datatype=DataType.BITS)] for _ in range(2)]
        blocks = (*bits, *([SimData(0, count=64, values=0, datatype=DataType.REGISTERS)] for _ in range(2)))
        device = SimDevice(0, simdata=blocks, use_bit_addressing=True)
        self.server = ModbusTcpServer(device, address=("127.0.0.1", self.port))
        await self.server.serve_forever(background=True)
        self.ready.set()
        await self.server.serving

    def call(self, code: int, address: int, values: list[int] | None = None, count: int = 1) -> Any:
        if values is None:
            job = self.server.async_getValues(1, code, address, count)
        else:
            job = self.server.async_setValues(1, code, address, values)
        return asyncio.run_coroutine_threadsafe(job, self.loop).result(20)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.server.shutdown(), self.loop)
        self.thread.join(20)


def test_client_polls_and_writes(wait_until):
    port, inputs = free_port(), RecordedInputs()
    controller = Controller(port)
    controller.call(16, 0, [3, 9, *SERIAL])
    controller.call(15, 0, [True, False])
    client = ModbusClient(("127.0.0.1", port), ModbusOptions("client", poll=0.002))
    client.start(inputs)
    wait_until(lambda: client.fault == "", "the connection")
    assert inputs.signals == [("product", 3)], "what was set before is no trigger"
    controller.call(15, 0, [False, True])
    controller.call(16, 1, [10])
    wait_until(lambda: len(inputs.signals) == 3, "the signals")
    assert sorted(map(str, inputs.signals[1:])) == ["('acknowledge', True)", "('trigger', 'AB01')"]
    client.show(Outputs(results_ready=True, ok=True, part=5, product=3))
    wait_until(lambda: controller.call(1, 16, count=8)[2], "results ready")
    assert controller.call(1, 16, count=8)[:8] == [False, False, True, True, False, False, False, False]
    assert controller.call(3, 16, count=4) == [0, 5, 1, 3]

    controller.close()
    wait_until(lambda: client.fault, "the loss")
    second = Controller(port)
    wait_until(lambda: client.fault == "", "the connection")
    second.call(15, 0, [True, False])
    wait_until(lambda: inputs.signals[-1] == ("trigger", ""), "the trigger")
    started = time.monotonic()
    client.close()
    assert time.monotonic() - started < 5
    second.close()


@pytest.mark.parametrize("words", [1, 2])
def test_belt_counter_of_the_controller_brings_parts_to_the_camera(wait_until, words):
    """The counter passes its end, goes back, and stands still; serial numbers and products stay with their parts."""
    port, inputs = free_port(), RecordedInputs()
    controller, end = Controller(port), (1 << 16 * words) - 1

    def move_to(position):
        controller.call(16, 40, [position >> 16, position & 0xFFFF][-words:])

    def bring(counter, product, serial):
        controller.call(16, 0, [product, counter, *serial])

    move_to(end - 30)
    options = ModbusOptions("client", poll=0.002, encoder=40, encoder_words=words, distance=100)
    client = ModbusClient(("127.0.0.1", port), options)
    client.start(inputs)
    wait_until(lambda: client.fault == "", "the connection")
    assert inputs.signals == [("product", 0)]
    bring(1, 0, SERIAL)
    wait_until(lambda: len(client.belt.parts) == 1, "the first part at the sensor")
    move_to(10)
    wait_until(lambda: client.belt.position == 10, "the belt passes the end of the counter")
    bring(2, 5, [0x4344, *SERIAL[1:]])
    wait_until(lambda: len(client.belt.parts) == 2, "the second part, of another product")
    move_to(5)
    wait_until(lambda: client.belt.position == 5, "the belt goes back")
    assert inputs.signals == [("product", 0)]
    move_to(68)
    wait_until(lambda: client.belt.position == 68, "99 counts")
    assert inputs.signals == [("product", 0)]
    move_to(69)
    wait_until(lambda: len(inputs.signals) == 2, "the first part is in front of the camera")
    assert inputs.signals[1:] == [("trigger", "AB01")]
    move_to(110)
    wait_until(lambda: len(inputs.signals) == 4, "the second part")
    assert inputs.signals[2:] == [("product", 5), ("trigger", "CD01")]
    bring(3, 5, SERIAL)
    wait_until(lambda: len(client.belt.parts) == 1, "a part on the belt")
    controller.close()
    wait_until(lambda: len(inputs.signals) == 5, "with the connection the part on the belt is lost")
    assert inputs.signals[4][0] == "miss"
    client.close()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"encoder": 40}, "need each other"),
        ({"distance": 9}, "need each other"),
        ({"encoder": 40, "distance": 9, "role": "server"}, "role=client"),
        ({"encoder": 40, "distance": 40_000}, "encoder_words=2"),
    ],
)
def test_wrong_options_of_an_encoder_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        ModbusOptions(**{"role": "client", **options})
