"""A Modbus TCP server for the line controller, in a thread with an event loop of its own."""

from __future__ import annotations

import asyncio
import threading

from pymodbus.constants import ExcCodes
from pymodbus.server import ModbusTcpServer
from pymodbus.simulator import DataType, SimData, SimDevice

from ...errors import MachineProblem
from ..handshake import Outputs
from . import LineInputs
from .register_map import ACKNOWLEDGE, COILS, HOLDING, INPUTS, PRODUCT, TRIGGER, InputEdges, OutputRegisters

_READ_BITS, _READ_WORDS, _WRITE_BITS, _WRITE_WORDS = 2, 4, (5, 15), (6, 16)  # function codes
_START_SECONDS = 10.0
_Values = list[int] | list[bool] | None


class ModbusServer:
    """The adapter `modbus://HOST:PORT`.

    Args:
        address: host and port to listen at
        unit: of this device
    """

    def __init__(self, address: tuple[str, int], unit: int) -> None:
        self.address, self.unit = address, unit
        self.fault = ""
        self.registers = OutputRegisters()
        self.ready = threading.Event()
        self.error = ""
        self.listening = False
        self.thread = threading.Thread(target=self._run, name="modbus", daemon=True)
        self.loop = asyncio.new_event_loop()
        self.server: ModbusTcpServer | None = None

    def start(self, inputs: LineInputs) -> None:
        self.edges = InputEdges(inputs, settled=True)
        self.thread.start()
        if not self.ready.wait(_START_SECONDS) or not self.listening:
            host, port = self.address
            hint = "check the address; ports below 1024 need CAP_NET_BIND_SERVICE"
            raise MachineProblem(f"trigger.source: cannot listen at {host}:{port} {self.error}".strip(), hint=hint)

    def show(self, outputs: Outputs) -> None:
        """Sets the registers that the next request reads."""
        registers = self.registers
        registers.set_outputs(outputs)

    def close(self) -> None:
        if self.thread.is_alive() and self.server is not None:
            asyncio.run_coroutine_threadsafe(self.server.shutdown(), self.loop)
            self.thread.join(_START_SECONDS)

    def _run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_until_complete(self._serve())
        except (OSError, RuntimeError) as error:
            self.error = self.fault = str(error) or "it does not answer"
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        coils, discrete = ([SimData(0, count=16, values=False, datatype=DataType.BITS)] for _ in range(2))
        holding, words = (
            [SimData(0, count=count, values=0, datatype=DataType.REGISTERS)] for count in (HOLDING, INPUTS)
        )
        blocks = (coils, discrete, holding, words)
        device = SimDevice(0, simdata=blocks, use_bit_addressing=True, action=self._answer)
        self.server = ModbusTcpServer(device, address=self.address)
        await self.server.serve_forever(background=True)
        self.listening = True
        self.ready.set()
        await self.server.serving

    async def _answer(
        self,
        code: int,
        _start: int,
        address: int,
        count: int,
        current: list[int],
        values: _Values,
    ) -> ExcCodes | None:
        """Called for each request; `current` is the block that is read, `values` what is written."""
        if code == _READ_BITS:
            current[0] = sum(bit << place for place, bit in enumerate(self.registers.bits))
        elif code == _READ_WORDS:
            self.registers.set_last_part(self.edges.last_part)
            current[:] = self.registers.words
        elif code in _WRITE_WORDS and values is not None:
            holding = [*current[:address], *map(int, values), *current[address + count :]]
            self.edges.see_registers(holding, selects=address <= PRODUCT)
        elif code in _WRITE_BITS and values is not None:
            if address + len(values) > COILS:
                return ExcCodes.ILLEGAL_ADDRESS
            coils = [bool(current[0] >> place & 1) for place in (TRIGGER, ACKNOWLEDGE)]
            coils[address : address + len(values)] = map(bool, values)
            self.edges.see_coils(coils)
        return None
