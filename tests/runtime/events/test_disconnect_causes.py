"""Which event ends connections: the one that the broker does not take, and none if the broker is only away."""

from __future__ import annotations

from events import make_event

from vedette.runtime.events import forwarder as forwarder_module
from vedette.runtime.events.disconnect_causes import MAX_LOSSES, DisconnectCauses
from vedette.runtime.events.forwarder import Forwarder
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.sinks import Acknowledgement, MessageRefused
from vedette.runtime.events.topics import Topics


class Broker:
    """A sink that loses its first connection with an event in flight, is then away for a while, and then works."""

    def __init__(self, absences):
        self.absences, self.connections, self.sent = absences, 0, []

    def open(self):
        if self.connections and self.absences:
            self.absences -= 1
            raise ConnectionError("connection refused")
        self.connections += 1

    def send(self, message):
        self.sent.append(message.sequence)

    def wait(self, seconds):
        if self.connections == 1:
            raise ConnectionError("the connection is lost")
        arrived, self.sent = self.sent, []
        return [Acknowledgement(sequence) for sequence in arrived]

    def wake(self):
        pass

    def close(self):
        pass


def test_an_event_is_no_dead_letter_because_the_broker_was_away(tmp_path, wait_until, monkeypatch):
    monkeypatch.setattr(forwarder_module, "backoff_seconds", lambda failures, most: 0.0)
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    outbox.put(make_event(1))
    forwarder = Forwarder(outbox, Broker(absences=4 * MAX_LOSSES), Topics("v/v1/a/b/c/device", "/a/b/c/device"))
    forwarder.start()
    wait_until(lambda: not outbox.count_pending(), "the event was delivered or refused")
    forwarder.drain(1.0)
    assert outbox.count_dead_letters() == 0
    outbox.close()


def test_the_event_at_which_the_broker_disconnects_is_found_among_several():
    causes = DisconnectCauses()
    assert causes.find({1: 100, 2: 900}, "Packet too large") is None
    assert causes.one_at_a_time
    causes.acknowledged(100)
    assert not causes.one_at_a_time
    assert causes.find({2: 900}, "Packet too large") == (2, "Packet too large")


def test_an_event_smaller_than_one_that_was_taken_is_never_blamed_without_a_reason():
    causes = DisconnectCauses()
    causes.acknowledged(1000)
    assert [causes.find({2: 900}, "") for _ in range(4 * MAX_LOSSES)] == [None] * 4 * MAX_LOSSES
    found = [causes.find({3: 1001}, "") for _ in range(4 * MAX_LOSSES)]
    assert (3, f"the connection broke each of {2 * MAX_LOSSES} times that it was sent") in found


class RefusingBroker(Broker):
    """Ends the connection at each event, and says that the event is the reason."""

    def open(self):
        self.connections += 1

    def wait(self, seconds):
        if self.sent:
            self.sent = []
            raise MessageRefused("packet too large")
        return []


def test_events_that_end_connections_are_no_copied_card(tmp_path, wait_until, monkeypatch):
    monkeypatch.setattr(forwarder_module, "backoff_seconds", lambda failures, most: 0.0)
    outbox = Outbox(tmp_path / "outbox.db", 1 << 20, volatile=True)
    number = 2 * forwarder_module.MAX_SHORT_CONNECTIONS
    outbox.put(*[make_event(each) for each in range(number)])
    forwarder = Forwarder(outbox, RefusingBroker(0), Topics("v/v1/a/b/c/device", "/a/b/c/device"))
    forwarder.start()
    wait_until(lambda: not outbox.count_pending(), "all events to be dead letters")
    forwarder.drain(1.0)
    bodies = [row[0] for row in outbox.database.execute("SELECT body FROM events")]
    assert outbox.count_dead_letters() >= number
    assert not [body for body in bodies if b"duplicate_identity" in body]
    outbox.close()
