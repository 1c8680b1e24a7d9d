"""A Modbus TCP client that polls the line controller, in a thread of its own."""

from __future__ import annotations

import logging
import threading

from pymodbus.client import ModbusTcpClient
from pymodbus.exceptions import ModbusException
from pymodbus.pdu import ModbusPDU

from ..handshake import Outputs
from . import LineInputs
from .belt_inputs import BeltInputs
from .modbus_options import ModbusOptions
from .register_map import COILS, HOLDING, InputEdges, OutputRegisters, join_words

log = logging.getLogger(__name__)

_TIMEOUT, _RETRY_SECONDS, _CLOSE_SECONDS = 1.0, 0.5, 3.0
_WORDS = 4  # part, verdict and product; the last results are the server's


class ModbusClient:
    """The adapter `modbus://HOST:PORT?role=client`.

    Args:
        address: host and port of the line controller
        options: of the URL
    """

    def __init__(self, address: tuple[str, int], options: ModbusOptions) -> None:
        self.address, self.options = address, options
        self.fault = "not connected yet"
        self.registers, self.mutex = OutputRegisters(), threading.Lock()
        self.stopping = threading.Event()
        self.woken = threading.Event()
        self.thread = threading.Thread(target=self._run, name="modbus", daemon=True)

    def start(self, inputs: LineInputs) -> None:
        self.belt: BeltInputs | None = None
        if self.options.encoder is not None:
            inputs = self.belt = BeltInputs(inputs, self.options.distance, 16 * self.options.encoder_words)
        self.edges = InputEdges(inputs, settled=False)
        self.thread.start()

    def show(self, outputs: Outputs) -> None:
        """Has the outputs written by the thread."""
        with self.mutex:
            self.registers.set_outputs(outputs)
        self.woken.set()

    def close(self) -> None:
        self.stopping.set()
        self.woken.set()
        if self.thread.is_alive():
            self.thread.join(_CLOSE_SECONDS)

    def _run(self) -> None:
        host, port = self.address
        client = ModbusTcpClient(host, port=port, timeout=_TIMEOUT, retries=0)
        try:
            while not self.stopping.is_set():
                try:
                    if not client.connect():
                        raise ModbusException(f"{host}:{port} does not answer")
                    self._exchange(client)
                except (ModbusException, OSError) as error:
                    if not self.fault:
                        log.warning("the line controller is lost: %s", error)
                    self.fault = str(error)
                    client.close()
                    self._give_up()
                    self.stopping.wait(_RETRY_SECONDS)
        finally:
            self._give_up()
            client.close()

    def _exchange(self, client: ModbusTcpClient) -> None:
        """Reads and writes until the connection breaks. What the line shows at first is from before, and no signal."""
        written: tuple[list[bool], list[int]] | None = None
        self.edges.settled = False
        unit, options = self.options.unit, self.options
        while True:
            ended = self.stopping.is_set()
            with self.mutex:
                wanted = list(self.registers.bits), self.registers.words[:_WORDS]
            if wanted != written:  # registers first: who sees the bits finds them set
                _check(client.write_registers(options.outputs, wanted[1], device_id=unit))
                _check(client.write_coils(options.outputs, wanted[0], device_id=unit))
                written = wanted
            if ended:
                return
            words = _check(client.read_holding_registers(options.inputs, count=HOLDING, device_id=unit)).registers
            bits = _check(client.read_coils(options.inputs, count=COILS, device_id=unit)).bits
            self._follow_belt(client)
            self.edges.see_registers(words)
            self.edges.see_coils(bits[:COILS])
            self.edges.settled, self.fault = True, ""
            self.woken.wait(options.poll)
            self.woken.clear()

    def _follow_belt(self, client: ModbusTcpClient) -> None:
        """Reads where the belt is, before the parts that are now at the sensor count."""
        options = self.options
        if self.belt is None or options.encoder is None:
            return
        count = options.encoder_words
        words = _check(client.read_holding_registers(options.encoder, count=count, device_id=options.unit)).registers
        self.belt.move_to(join_words([0, *words][-2:]))

    def _give_up(self) -> None:
        if self.belt is not None:
            self.belt.give_up()


def _check(answer: ModbusPDU) -> ModbusPDU:
    if answer.isError():
        raise ModbusException(f"the line controller refuses a request: {answer}")
    return answer
