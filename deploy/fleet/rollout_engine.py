"""A rollout, step by step: orders to a ring, a verdict for each of its boxes, the next ring, or the way back.

If more boxes of a ring fail than may, the rollout stops, and all boxes of the ring that may have the new release are
ordered back. A single box that fails the gate is ordered back by itself. Nothing here waits: `step` is called again and
again, and whatever must survive is in the rollout's record.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec

from vedette.runtime.bundle.signed_order import matches
from vedette.runtime.errors import UNREADABLE
from vedette.runtime.installation.orders.order_handler import Report

from .health_gate import Limits, judge
from .inventory import FleetBox, Inventory
from .order_sender import OrderSender
from .rings import allowed_failures
from .rollout_record import BoxRecord, BoxState, Rollout

Echo = Callable[[str], None]
MAX_RETRY = 8
"""The wait before an order is sent again doubles up to so many times, or a busy plant gets only busier."""
_SILENT = "it does not answer the order to go back"


class RolloutEngine:
    """Carries out a rollout.

    Args:
        rollout: the rollout, which is changed
        inventory: what the boxes say
        sender: sends orders
        save: keeps the rollout durably; called before orders leave
        echo: takes a line for each step
        limits: how long to wait
        last_ring: number of the ring after which the rollout pauses
    """

    def __init__(
        self,
        rollout: Rollout,
        inventory: Inventory,
        sender: OrderSender,
        save: Callable[[], None],
        echo: Echo,
        limits: Limits = Limits(),  # noqa: B008  # a constant
        last_ring: int | None = None,
    ) -> None:
        self.rollout, self.inventory, self.sender = rollout, inventory, sender
        self.save, self.echo, self.limits = save, echo, limits
        self.last_ring = len(rollout.rings) - 1 if last_ring is None else last_ring
        self.sent = dict[str, tuple[float, int]]()
        """When the last order was sent to each box, monotonic, and how often it had been sent before."""
        self.outbound = dict[str, str]()
        self.is_changed = True

    def step(self) -> bool:
        """Does what is to be done now; returns False when the rollout is done, paused or stopped."""
        now = time.time()
        if self.rollout.status == "running":
            self._advance(now)
        for place, record in self._touched().items():
            self._watch(place, record, now)
        if self.rollout.status == "running":
            self._check_ring(now)
        elif self.rollout.status == "stopping" and not any(box.state in _MOVING for box in self._touched().values()):
            self.rollout.status, self.is_changed = "stopped", True
            self.echo(f"stopped: {self.rollout.reason}")
        if self.is_changed or self.outbound:
            self.save()
            self.is_changed = False
        for place, action in self.outbound.items():
            self.sender.send(place, self.rollout.boxes[place], action)
        self.outbound.clear()
        return self.rollout.status in ("running", "stopping")

    def take_answer(self, place: str, nonce: str, payload: bytes) -> None:
        """Takes an answer of a box; what belongs to no open order is ignored."""
        record = self.rollout.boxes.get(place)
        if record is None or record.nonce != nonce or record.state not in (*_MOVING, "unreachable"):
            return
        try:
            report = msgspec.json.decode(payload, type=Report)
        except UNREADABLE:
            return
        detail = "".join(filter(str.isprintable, report.detail))[:300]
        if report.pieces:
            self.sender.send_pieces(place, nonce, report.pieces)
        is_leaving = record.state != "ordered"
        if report.state in ("installed", "applied") and not is_leaving:
            self._set(place, "installed")
        elif report.state == "rolled back" and is_leaving:
            reason = "" if record.reason == _SILENT else record.reason  # an answer may come late
            self._set(place, "failed" if reason else "left", reason)
        elif report.state == "failed":
            state: BoxState = "unreachable" if is_leaving else "failed"
            record.expires = 0  # to try again takes another order
            self._set(place, state, detail or "no reason given")
        elif report.state == "refused" and "send it again" not in detail and not is_leaving:
            self._set(place, "failed", f"refused: {detail}")

    def start_leaving(self, reason: str, only: tuple[str, ...] = ()) -> None:
        """Stops the rollout and orders the boxes of all rings so far back that may have the release.

        Boxes that were unreachable get the same order again, while it holds: what they did meanwhile, they did, and
        an answer that is on its way counts. `only`: patterns of places; empty: all.
        """
        self.rollout.status, self.rollout.reason = "stopping", reason
        for place, record in self._touched().items():
            if only and not any(matches(pattern, place) for pattern in only):
                continue
            was_ordered = record.state == "unreachable"
            if was_ordered:
                record.state = "installed"
            self._order_back(place, record, "", is_new=not was_ordered)

    def _touched(self) -> dict[str, BoxRecord]:
        """The boxes of the rings so far that are not finished for good."""
        places = (place for ring in self.rollout.rings[: self.rollout.ring + 1] for place in ring)
        return {place: self.rollout.boxes[place] for place in places if self.rollout.boxes[place].state != "waiting"}

    def _advance(self, now: float) -> None:
        """Orders boxes of the ring to install, as many as may do so at a time."""
        ring = self.rollout.of_ring()
        free = self.rollout.parallel - sum(record.state == "ordered" for record in ring.values())
        for place, record in ring.items():
            if free <= 0:
                return
            if record.state != "waiting":
                continue
            free -= 1
            box = self.inventory.boxes.get(place)
            if box is None or not box.is_online:
                self._set(place, "missed")
                continue
            record.cameras = tuple(name for name, each in box.cameras.items() if each.availability == "online")
            product = box.products.get(self.rollout.product)
            record.was = product.current if product is not None else None
            record.events_per_minute = {name: box.cameras[name].events_per_minute or 0.0 for name in record.cameras}
            record.losses = sum(camera.losses for camera in box.cameras.values())
            self.sender.renew(record, now, is_new=True)
            record.applied = record.nonce
            self._set(place, "ordered")
            self._send(place, "install")

    def _watch(self, place: str, record: BoxRecord, now: float) -> None:
        """Sends again what was not answered, judges, and gives up."""
        waited = now - record.since
        if record.state == "installed":
            self._adopt(place, record)
            verdict, reason = judge(self.inventory.boxes[place], record, self.rollout, self.limits, now)
            if verdict:
                self._set(place, "accepted")
            elif verdict is False:
                self._order_back(place, record, reason)
        elif record.state == "ordered":
            if waited > self.limits.order:
                self._order_back(place, record, f"no outcome in {waited / 60:.0f} minutes")
            else:
                self._send_again(place, record, "install", now)
        elif record.state == "leaving":
            if waited > self.limits.leave:
                self._set(place, "unreachable", record.reason or _SILENT)
            else:
                self._send_again(place, record, "rollback", now)

    def _adopt(self, place: str, record: BoxRecord) -> None:
        """Counts connections that died from now on, if this program was started after the box was ordered."""
        box = self.inventory.boxes.setdefault(place, FleetBox(place))
        record.losses = min(record.losses, sum(camera.losses for camera in box.cameras.values()))

    def _order_back(self, place: str, record: BoxRecord, reason: str, *, is_new: bool = True) -> None:
        """Orders a box back that has, or may have, the new release."""
        if record.state not in ("ordered", "installed", "accepted"):
            return
        self.sender.renew(record, time.time(), is_new=is_new)
        self._set(place, "leaving", reason)
        self._send(place, "rollback")

    def _check_ring(self, now: float) -> None:
        """Stops if too many failed; goes on to the next ring if all boxes of this one are finished."""
        ring = self.rollout.of_ring()
        failed = [place for place, record in ring.items() if record.state in ("failed", "unreachable") or record.reason]
        limit = allowed_failures(self.rollout.max_failed, len(ring))
        if len(failed) > limit:
            self.rollout.status, self.is_changed = "stopping", True
            name = f"ring {self.rollout.ring + 1} of {len(self.rollout.rings)}"
            self.rollout.reason = f"{len(failed)} of {len(ring)} boxes of {name} failed; at most {limit} may"
            self.echo(f"stopping: {self.rollout.reason}")
            for place, record in ring.items():
                self._order_back(place, record, "")
            return
        if any(record.state in (*_MOVING, "installed", "waiting") for record in ring.values()):
            return
        accepted = sum(record.state == "accepted" for record in ring.values())
        self.echo(f"ring {self.rollout.ring + 1}: {accepted} of {len(ring)} boxes accepted, {len(failed)} failed")
        self.is_changed = True
        if not accepted:
            self.rollout.status, self.rollout.reason = "stopping", "no box of the ring has the release"
        elif self.rollout.ring == len(self.rollout.rings) - 1:
            self.rollout.status = "done"
        elif self.rollout.ring >= self.last_ring:
            self.rollout.status = "paused"
        else:
            self.rollout.ring += 1
            self._advance(now)

    def _send_again(self, place: str, record: BoxRecord, action: str, now: float) -> None:
        last, times = self.sent.get(place, (float("-inf"), 0))
        if time.monotonic() - last < self.limits.retry * min(2**times, MAX_RETRY):
            return
        self.sender.renew(record, now, is_new=False)
        record.applied = record.nonce if action == "install" else record.applied
        self._send(place, action, times + 1)

    def _send(self, place: str, action: str, times: int = 0) -> None:
        self.sent[place] = time.monotonic(), times
        self.outbound[place] = action

    def _set(self, place: str, state: BoxState, reason: str = "") -> None:
        record = self.rollout.boxes[place]
        record.state, record.reason, record.since = state, reason, time.time()
        self.is_changed = True
        self.echo(f"{place}: {state}{f': {reason}' if reason else ''}")


_MOVING = ("ordered", "leaving")
