"""An OPC UA client that subscribes to the line controller's nodes and writes the outputs, in a thread of its own.

asyncua would connect again by itself, and then show values of before as new ones; here each connection begins anew.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any

from asyncua import Client, ua
from asyncua.common.subscription import DataChangeEvent, OverflowPolicy, Subscription
from asyncua.crypto.security_policies import SecurityPolicyBasic256Sha256

from ...config.credentials import read_secret
from ..handshake import Outputs
from . import LineInputs
from .loop_thread import LoopThread
from .node_signals import NodeSignals, list_values
from .opcua_options import OpcUaOptions
from .opcua_security import application_uri

log = logging.getLogger(__name__)
logging.getLogger("asyncua").setLevel(logging.CRITICAL)  # it tells each lost connection with a traceback

_TIMEOUT, _RETRY_SECONDS, _CLOSE_SECONDS = 2.0, 0.5, 5.0
_QUEUE = 1000  # changes that wait, here and in the line controller
_INPUTS = ("trigger", "acknowledge", "product", "serial")


class OpcUaClient:
    """The adapter `opcua://HOST:PORT?trigger=NODE`.

    Args:
        address: host and port of the line controller
        path: of its endpoint
        options: of the URL
    """

    def __init__(self, address: tuple[str, int], path: str, options: OpcUaOptions) -> None:
        self.url, self.options = f"opc.tcp://{address[0]}:{address[1]}{path}", options
        self.password = read_secret(options.password_file, "trigger.source")
        self.fault = "not connected yet"
        self.outputs = Outputs()
        self.thread = LoopThread(self._connect_again_and_again, "opcua")

    def start(self, inputs: LineInputs) -> None:
        self.inputs = inputs
        self.thread.start()

    def show(self, outputs: Outputs) -> None:
        """Has the outputs written by the thread; the newest ones count."""
        self.outputs = outputs
        self.thread.wake()

    def close(self) -> None:
        self.thread.end(_CLOSE_SECONDS)

    async def _connect_again_and_again(self) -> None:
        while not self.thread.stopping:
            client = Client(self.url, timeout=_TIMEOUT)
            try:
                await self._secure(client)
                await client.connect()
                await self._exchange(client)
            except Exception as error:  # noqa: BLE001  whatever asyncua makes of an answer
                self._tell(str(error) or type(error).__name__)
            finally:
                with suppress(Exception):
                    await asyncio.wait_for(client.disconnect(), _TIMEOUT)
            if not self.thread.stopping:
                await asyncio.sleep(_RETRY_SECONDS)

    def _tell(self, reason: str) -> None:
        if not self.fault:
            log.warning("the line controller is lost: %s", reason)
        self.fault = f"{self.url}: {reason}"

    async def _secure(self, client: Client) -> None:
        options = self.options
        if options.user:
            client.set_user(options.user)
            client.set_password(self.password or "")
        if options.certificate:
            client.application_uri = application_uri(options.certificate)
            await client.set_security(
                SecurityPolicyBasic256Sha256,
                options.certificate,
                options.key,
                server_certificate=options.trusted,
            )

    async def _exchange(self, client: Client) -> None:
        """Reads and writes until the end, or until the connection breaks."""
        lost: asyncio.Future[None] = self.thread.loop.create_future()

        async def lose(error: Exception) -> None:
            if not lost.done():
                lost.set_exception(error)

        client.connection_lost_callback = lose
        nodes = {name: client.get_node(node) for name in _INPUTS if (node := self.options.address_of(name))}
        subscription = await client.create_subscription(
            1000 * self.options.interval, queue_maxsize=_QUEUE, overflow=OverflowPolicy.DISCONNECT
        )
        watched = [node for name, node in nodes.items() if name != "serial"]
        for handle in await subscription.subscribe_data_change(watched, queuesize=_QUEUE, sampling_interval=0):
            if isinstance(handle, ua.StatusCode):
                handle.check()
        names = {node.nodeid: name for name, node in nodes.items()}
        tasks = [asyncio.create_task(self._write(client)), asyncio.create_task(self._read(subscription, names, nodes))]
        try:
            done, _ = await asyncio.wait([*tasks, lost], return_when=asyncio.FIRST_COMPLETED)
            for each in done:
                each.result()
        finally:
            for task in tasks:
                task.cancel()
            if lost.done():
                lost.exception()
            lost.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, subscription: Subscription, names: dict[Any, str], nodes: dict[str, Any]) -> None:
        """Follows the subscription. The first value of each node is from before."""
        signals, number = NodeSignals(self.inputs, {}), subscription.subscription_id
        async for event in subscription:
            at = time.monotonic()
            if subscription.subscription_id != number:  # asyncua has made it anew
                signals, number = NodeSignals(self.inputs, {}), subscription.subscription_id
            if not isinstance(event, DataChangeEvent):
                continue
            name, status = names[event.node.nodeid], event.data.monitored_item.Value.StatusCode
            value = None if status is not None and status.is_bad() else event.value
            if name == "trigger":
                self.fault = f"{self.url}: the trigger's node has no value" if value is None else ""
            changes = {name: value}
            if name == "trigger" and value is not False and "serial" in nodes and "trigger" in signals.values:
                changes["serial"] = await nodes["serial"].read_value()
            signals.see(changes, at)
        raise ConnectionError("the subscription has ended")

    async def _write(self, client: Client) -> None:
        """Writes the outputs that changed; ends after the last ones."""
        nodes = {name: node for name in list_values(Outputs()) if (node := self.options.address_of(name))}
        targets = {name: client.get_node(node) for name, node in nodes.items()}
        kinds = {name: await node.read_data_type_as_variant_type() for name, node in targets.items()}
        written: dict[str, bool | int] = {}
        while True:
            ended = self.thread.stopping
            values = {name: each for name, each in list_values(self.outputs).items() if name in targets}
            changed = {name: value for name, value in values.items() if written.get(name) != value}
            if changed:
                variants = [ua.DataValue(ua.Variant(value, kinds[name])) for name, value in changed.items()]
                await client.write_values([targets[name] for name in changed], variants)
                written = values
            if ended:
                return
            await self.thread.changed.wait()
            self.thread.changed.clear()
