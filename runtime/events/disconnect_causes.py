"""Which event makes the broker disconnect: it becomes a dead letter, so that it does not block the others for ever.

A broker may answer an event that it does not take by closing the connection, with a reason (MQTT 5) or without. With
several events in flight nobody knows which one it was, so they are then sent one at a time. If the broker closes the
connection with a reason that is about the message, the single event in flight is the cause. Without such a reason it
is the cause only after several connections that ended in this way, and if it is larger than any event that the broker
took: a broker that crashes or a bad network must not look like a refusal.
"""

from __future__ import annotations

MAX_LOSSES = 3  # connections in a row that ended with the same event in flight, and without any acknowledgement


class DisconnectCauses:
    """Looks for the event that ends connections."""

    def __init__(self) -> None:
        self.one_at_a_time = False
        """True: send an event only if none is in flight."""
        self.losses = 0
        """Connections in a row that ended with events in flight and without an acknowledgement."""
        self.largest_accepted = 0
        """Size of the largest event that the broker took, bytes."""

    def acknowledged(self, size: int) -> None:
        """The broker took an event of `size` bytes."""
        self.one_at_a_time, self.losses = False, 0
        self.largest_accepted = max(self.largest_accepted, size)

    def find(self, in_flight: dict[int, int], refusal: str) -> tuple[int, str] | None:
        """The event that ended a connection, with the reason; None: it is not known, or there is none.

        Args:
            in_flight: unacknowledged events by sequence number, with their sizes in bytes
            refusal: the broker's reason for the disconnect, if it is about a message; else empty
        """
        if not in_flight:
            return None
        self.losses += 1
        if len(in_flight) > 1:
            self.one_at_a_time = self.one_at_a_time or bool(refusal) or self.losses >= MAX_LOSSES
            return None
        ((sequence, size),) = in_flight.items()
        if not refusal and (self.losses < 2 * MAX_LOSSES or size <= self.largest_accepted):
            self.one_at_a_time = self.one_at_a_time or self.losses >= MAX_LOSSES
            return None
        self.losses = 0
        return sequence, refusal or f"the connection broke each of {2 * MAX_LOSSES} times that it was sent"
