"""Delivery of events: store-and-forward. The outbox stores each event durably; forwarders send it to the sinks."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import Any

from ..config.configuration import BrokerSettings
from ..errors import MachineProblem
from .event import Event
from .forwarder import Forwarder
from .outbox import Outbox
from .periodic_messages import CommandHandler, PeriodicMessages
from .receiver_forwarder import ReceiverForwarder
from .receivers import Receiver
from .sinks import Sink
from .topics import Topics

log = logging.getLogger(__name__)

FORWARDER_STALE_SECONDS = 20.0  # a forwarder without a loop iteration for so long is stuck


class Delivery:
    """The outbox, the sink, and the forwarder thread that sends events from one to the other.

    Each receiver beside the sink has a forwarder of its own.
    """

    def __init__(
        self,
        outbox: Outbox,
        sink: Sink,
        topics: Topics,
        periodic_messages: PeriodicMessages,
        commands: CommandHandler | None = None,
        receivers: Sequence[tuple[str, Receiver]] = (),
        broker: BrokerSettings | None = None,
    ) -> None:
        self.outbox, self.sink, self.topics, self.commands = outbox, sink, topics, commands
        batch = broker.batch if broker is not None and broker.url.startswith("mqtt") else None
        self.forwarder = Forwarder(outbox, sink, topics, periodic_messages, commands, batch)
        self.receivers = [ReceiverForwarder(outbox, name, receiver) for name, receiver in receivers]

    def start(self) -> None:
        """Starts the forwarders."""
        for forwarder in (self.forwarder, *self.receivers):
            forwarder.start()

    def is_alive(self) -> bool:
        """True unless a forwarder died."""
        return self.forwarder.is_alive() and all(each.is_alive() for each in self.receivers)

    def store(self, *events: Event) -> list[tuple[int, Event]]:
        """Stores events durably, as `Outbox.put_all` does; returns each with its sequence number.

        `wake` then sends them at once.

        Raises:
            MachineProblem: the outbox cannot store them.
        """
        stored = list(zip(self.outbox.put_all(events), events, strict=True))
        for sequence, event in stored:
            log.info("event %d: %s %s, score %.3f", sequence, event.rule, event.kind, event.top_score)
        return stored

    def wake(self) -> None:
        """Makes the forwarders send pending events now, and not only at their next iteration."""
        self.sink.wake()
        for receiver in self.receivers:
            receiver.wake()

    def record_system_event(self, rule: str, kind: str, facts: dict[str, Any]) -> None:
        """Stores an event about the device itself, which is delivered like every other event.

        Raises:
            MachineProblem: the outbox cannot store it.
        """
        log.warning("%s %s: %s", rule, kind, ", ".join(f"{key} {value}" for key, value in facts.items()))
        self.outbox.put_system_event(rule, kind, facts)
        self.wake()

    def makes_progress(self) -> bool:
        """True unless the forwarder is stuck. It also makes progress while no broker is connected."""
        return time.monotonic() - self.forwarder.last_iteration < FORWARDER_STALE_SECONDS

    def faults(self) -> dict[str, bool]:
        """The faults of delivery, in words, with whether each is present. Any thread may call it."""
        dead = self.outbox.count_dead_letters()
        sinks: dict[str, bool] = {}
        for each in (receiver.figures() for receiver in self.receivers):
            sinks |= {f"the sink {each.name} takes no events": not each.connected}
            sinks |= {f"the sink {each.name} refuses {each.dead} events": each.dead > 0}
        return {
            "events wait in memory": not self.outbox.is_durable,
            "no connection to the broker": not self.forwarder.connected,
            "the broker refuses the login": not self.forwarder.connected and self.forwarder.login_refused,
            f"the broker refuses {dead} events": dead > 0,
        } | sinks

    def figures(self) -> dict[str, Any]:
        """The fields of the status report that come from this part. Any thread may call it."""
        return {
            "backlog": self.outbox.count_pending(),
            "dead": self.outbox.count_dead_letters(),
            "connected": self.forwarder.connected,
            "published": self.forwarder.published_bytes,
            "sinks": tuple(receiver.figures() for receiver in self.receivers),
        }

    def count_waiting(self) -> int:
        """Number of events that wait for the sink that is behind most."""
        return max(self.outbox.count_pending(), *(each.queue.count_pending() for each in self.receivers), 0)

    def drain(self, seconds: float) -> None:
        """Sends pending events for at most `seconds`, then stops; the rest stays in the outbox for the next start."""
        for receiver in self.receivers:
            receiver.stop(seconds)
        self.forwarder.drain(seconds)
        for receiver in self.receivers:
            receiver.wait_for_end()
        if self.commands is not None:
            self.commands.close()

    def check_outcome(self, pending: int) -> None:
        """Checks that no event was lost, and that the forwarder ended in order.

        Args:
            pending: number of pending events when the outbox was closed

        Raises:
            MachineProblem: pending events were in memory only, or the forwarder died.
        """
        if pending and not self.outbox.is_durable:
            hint = "give the daemon a folder that it may write, on a disk with room"
            raise MachineProblem(f"{pending} events waited in memory and are gone: {self.outbox.path}", hint=hint)
        if not self.forwarder.finished or not all(receiver.finished for receiver in self.receivers):
            raise MachineProblem("a forwarder died; its error is above", hint="events are kept; start again")
