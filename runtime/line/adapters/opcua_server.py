"""An OPC UA server for the line controller, in a thread with an event loop of its own.

    CAMERA
      Inputs      Trigger, TriggerCounter, Acknowledge, ProductIndex, SerialNumber: the line writes
      Outputs     TriggerReady, Busy, ResultsReady, OK, NG, Warn, Error, Heartbeat, Part, Verdict, ProductIndex
      VisionStateMachine.AutomaticModeStateMachine
                  CurrentState (Initialized, Ready, SingleExecution) and StartSingleJob(partId, productId)
      ResultManagement
                  ResultReady and AcknowledgeResults()

The names below VisionStateMachine and ResultManagement are those of OPC 40100-1 (machine vision), as far as it has
them. The types, events and other methods of that specification are not there.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import Any

from asyncua import Server, ua, uamethod
from asyncua.common.callback import CallbackType, ServerItemCallback

from ...errors import MachineProblem
from ..handshake import Outputs
from ..handshake_state import SERIAL_CHARACTERS
from . import LineInputs
from .loop_thread import LoopThread
from .node_signals import NodeSignals, list_values
from .opcua_options import OpcUaOptions
from .opcua_security import secure_server

log = logging.getLogger(__name__)
logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it tells each refused client with a traceback

NAMESPACE = "urn:vedette:line"
INPUTS: dict[str, tuple[str, Any, ua.VariantType]] = {
    "trigger": ("Trigger", False, ua.VariantType.Boolean),
    "counter": ("TriggerCounter", 0, ua.VariantType.UInt32),
    "acknowledge": ("Acknowledge", False, ua.VariantType.Boolean),
    "product": ("ProductIndex", 0, ua.VariantType.UInt16),
    "serial": ("SerialNumber", "", ua.VariantType.String),
}
OUTPUTS = {
    "trigger_ready": "TriggerReady",
    "busy": "Busy",
    "results_ready": "ResultsReady",
    "ok": "OK",
    "ng": "NG",
    "warn": "Warn",
    "error": "Error",
    "heartbeat": "Heartbeat",
    "part": "Part",
    "verdict": "Verdict",
    "shown_product": "ProductIndex",
}
_KINDS = {"part": ua.VariantType.UInt32, "verdict": ua.VariantType.UInt16, "shown_product": ua.VariantType.UInt16}
_START_SECONDS, _LOOK_SECONDS = 60.0, 0.5
_UNKNOWN = -1  # StartSingleJob: no product index
_NOT_READY = -1  # its error; those below 0 are the device's own
_WORD = 1 << 32


class OpcUaServer:
    """The adapter `opcua://HOST:PORT`.

    Args:
        address: host and port to listen at
        options: of the URL
        camera: its name
    """

    def __init__(self, address: tuple[str, int], options: OpcUaOptions, camera: str) -> None:
        self.address, self.options, self.camera = address, options, camera
        self.fault = "no client is connected"
        self.error, self.listening = "", False
        self.ready = threading.Event()
        self.waiting: deque[Outputs] = deque()
        self.takes_parts = False
        self.names: dict[str, str] = {}
        """The input of a node, by its identifier."""
        self.thread = LoopThread(self._run, "opcua")

    def start(self, inputs: LineInputs) -> None:
        self.inputs = inputs
        self.signals = NodeSignals(inputs, {name: first for name, (_, first, _) in INPUTS.items()})
        self.thread.start()
        if not self.ready.wait(_START_SECONDS) or not self.listening:
            host, port = self.address
            hint = "check the address, and the files of certificate, key and trusted"
            raise MachineProblem(f"trigger.source: cannot listen at {host}:{port} {self.error}".strip(), hint=hint)

    def show(self, outputs: Outputs) -> None:
        """Has the nodes set by the thread, each state in turn."""
        self.takes_parts = outputs.trigger_ready
        self.waiting.append(outputs)
        self.thread.wake()

    def close(self) -> None:
        self.thread.end(_START_SECONDS)

    async def _run(self) -> None:
        try:
            await self._serve()
        except (OSError, RuntimeError, ValueError, ua.UaError) as error:
            self.error = self.fault = str(error) or type(error).__name__
            log.error("OPC UA: %s", self.error)
        finally:
            self.ready.set()

    async def _serve(self) -> None:
        server = Server()
        await server.init()
        server.set_endpoint(f"opc.tcp://{self.address[0]}:{self.address[1]}/vedette")
        server.set_server_name(f"Vedette {self.camera}")
        await secure_server(server, self.options)
        await self._add_nodes(server, await server.register_namespace(NAMESPACE))
        server.subscribe_server_callback(CallbackType.PostWrite, self._follow)
        async with server:
            self.listening = True
            self.ready.set()
            watching = asyncio.create_task(self._watch_clients(server))
            try:
                while not self.thread.stopping:
                    await self._set_outputs(server)
                    await self.thread.changed.wait()
                    self.thread.changed.clear()
                await self._set_outputs(server)
            finally:
                watching.cancel()

    async def _add_nodes(self, server: Server, space: int) -> None:
        """Adds the nodes; their identifiers are ns=…;s=CAMERA.FOLDER.NAME."""

        def name(*parts: str) -> ua.NodeId:
            return ua.NodeId(".".join((self.camera, *parts)), space)

        root = await server.nodes.objects.add_object(name(), f"{space}:{self.camera}")
        inputs = await root.add_object(name("Inputs"), f"{space}:Inputs")
        for key, (node, first, kind) in INPUTS.items():
            variable = await inputs.add_variable(name("Inputs", node), f"{space}:{node}", first, kind)
            await variable.set_writable()
            self.names[f"{self.camera}.Inputs.{node}"] = key
        self.nodes = {key: name("Outputs", node) for key, node in OUTPUTS.items()}
        outputs = await root.add_object(name("Outputs"), f"{space}:Outputs")
        for key, first in list_values(Outputs()).items():
            kind = _KINDS.get(key, ua.VariantType.Boolean)
            await outputs.add_variable(self.nodes[key], f"{space}:{OUTPUTS[key]}", first, kind)
        machine = await root.add_object(name("VisionStateMachine"), f"{space}:VisionStateMachine")
        mode = await machine.add_object(name("AutomaticModeStateMachine"), f"{space}:AutomaticModeStateMachine")
        self.state = name("AutomaticModeStateMachine", "CurrentState")
        await mode.add_variable(self.state, f"{space}:CurrentState", "Initialized", ua.VariantType.String)
        await mode.add_method(
            name("AutomaticModeStateMachine", "StartSingleJob"),
            f"{space}:StartSingleJob",
            uamethod(self._start_job),
            [_argument("partId", ua.ObjectIds.String), _argument("productId", ua.ObjectIds.Int32)],
            [_argument("jobId", ua.ObjectIds.String), _argument("error", ua.ObjectIds.Int32)],
        )
        results = await root.add_object(name("ResultManagement"), f"{space}:ResultManagement")
        self.result_ready = name("ResultManagement", "ResultReady")
        await results.add_variable(self.result_ready, f"{space}:ResultReady", False, ua.VariantType.Boolean)
        acknowledge = name("ResultManagement", "AcknowledgeResults")
        await results.add_method(acknowledge, f"{space}:AcknowledgeResults", uamethod(self._acknowledge), [], [])

    async def _set_outputs(self, server: Server) -> None:
        while self.waiting:
            outputs = self.waiting.popleft()
            values = list_values(outputs)
            for key, value in values.items():
                number = value % _WORD if key == "part" else value
                await _write(server, self.nodes[key], ua.Variant(number, _KINDS.get(key, ua.VariantType.Boolean)))
            state = "SingleExecution" if outputs.busy else "Ready" if outputs.trigger_ready else "Initialized"
            await _write(server, self.state, ua.Variant(state, ua.VariantType.String))
            await _write(server, self.result_ready, ua.Variant(outputs.results_ready, ua.VariantType.Boolean))

    def _follow(self, event: ServerItemCallback, _service: object = None) -> None:
        """Called for each request that writes; what was refused is left out."""
        if not event.is_external:
            return
        changes = {}
        for item, status in zip(event.request_params.NodesToWrite, event.response_params, strict=True):
            name = self.names.get(str(item.NodeId.Identifier))
            if name is not None and status.is_good() and item.AttributeId == ua.AttributeIds.Value:
                changes[name] = item.Value.Value.Value
        self.signals.see(changes)

    def _start_job(self, _parent: ua.NodeId, part_id: str | None, product: int) -> tuple[str, int]:
        """The method StartSingleJob: a part arrives. With an error its verdict is one, too."""
        ready = self.takes_parts
        if product != _UNKNOWN:
            self.inputs.select_product(product)
        number = self.inputs.trigger((part_id or "").strip()[:SERIAL_CHARACTERS])
        return str(number), 0 if ready else _NOT_READY

    def _acknowledge(self, _parent: ua.NodeId) -> None:
        """The method AcknowledgeResults: the result that is shown was read."""
        self.inputs.acknowledge(True)
        self.inputs.acknowledge(False)

    async def _watch_clients(self, server: Server) -> None:
        while True:
            present = server.bserver is not None and len(server.bserver.clients) > 0
            if not present and not self.fault:
                log.warning("the line controller is lost: no client is connected")
            self.fault = "" if present else "no client is connected"
            await asyncio.sleep(_LOOK_SECONDS)


async def _write(server: Server, node: ua.NodeId, value: ua.Variant) -> None:
    await server.write_attribute_value(node, ua.DataValue(value))


def _argument(name: str, kind: int) -> ua.Argument:
    argument = ua.Argument()
    argument.Name, argument.DataType, argument.ValueRank = name, ua.NodeId(kind), -1
    return argument
