"""What became of the parts of the line: the table at the end of the demonstration."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from vedette.runtime.events.event import Event, SystemEvent

from .line_controller import LineController
from .line_plan import NAMES, PlannedPicture


class LineAccount(msgspec.Struct):
    """What became of the parts."""

    triggered: int
    verdicts: dict[str, int]
    """By verdict, as the events have it."""
    reasons: dict[str, int]
    """Of the errors."""
    outputs: int
    """Results that the controller read."""
    unread: int
    """Results that it did not read in time; their events say the same."""
    in_order: bool
    products: dict[str, int]
    """Verdicts by product, as the events have it."""
    wrong_products: int
    """Parts whose verdict is of another product than the controller had selected."""
    wrong_pictures: int
    """Parts that took the picture of a cell of another product, after a part that had no picture."""
    wrong_outputs: int
    """Outputs that differ from the event of the part, or accept a part of which there is no picture."""
    found: int
    """Defective cells that were rejected."""
    missed: int
    """Defective cells that were accepted."""
    false_rejects: int
    """Good cells that were rejected."""
    delivered: int
    """Verdicts that the broker has acknowledged."""

    @property
    def is_complete(self) -> bool:
        """Whether each part is accounted for, and nothing wrong went out."""
        complete = self.triggered == sum(self.verdicts.values()) == self.outputs + self.unread == self.delivered
        return complete and self.in_order and not self.wrong_outputs and not self.wrong_products

    def describe(self) -> str:
        """The table, a line for each figure."""
        verdicts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(self.verdicts.items()))
        rows = (
            ("triggered", str(self.triggered)),
            ("verdicts", f"{sum(self.verdicts.values())}: {verdicts}"),
            ("reasons of errors", ", ".join(f"{count} {why}" for why, count in sorted(self.reasons.items())) or "none"),
            ("outputs that the controller read", f"{self.outputs}, {'in' if self.in_order else 'NOT IN'} order"),
            ("outputs that it did not read", str(self.unread)),
            ("wrong outputs", str(self.wrong_outputs)),
            ("products", ", ".join(f"{count} {name}" for name, count in self.products.items())),
            ("verdicts of a wrong product", str(self.wrong_products)),
            ("pictures of another product", str(self.wrong_pictures)),
            ("verdicts at the broker", str(self.delivered)),
            ("defective cells", f"{self.found} rejected, {self.missed} accepted"),
            ("good cells rejected", str(self.false_rejects)),
        )
        return "\n".join(f"{name:34}{value}" for name, value in rows)


def compute_account(
    outbox: Path, products: Sequence[int], pictures: Sequence[PlannedPicture], controller: LineController
) -> LineAccount:
    """Compares what the controller saw with the events, and the events with what the cells are.

    Args:
        outbox: of the daemon
        products: that the controller selected, part by part
        pictures: in the order in which the parts took them
        controller: what it saw
    """
    verdicts, delivered = _read_verdicts(outbox)
    by_part = {int(each["part"]): each for each in verdicts}
    pictured = [each for each in verdicts if each["exposed"]]  # these took the pictures, one after the other
    shown = {int(each["part"]): picture for each, picture in zip(pictured, pictures, strict=False)}
    selected = {part: NAMES.get(index, f"index {index}") for part, index in enumerate(products, 1)}
    right = {part for part, picture in shown.items() if NAMES[picture.product] == by_part[part]["product"]}
    judged = Counter((shown[part].is_defective, by_part[part]["verdict"]) for part in right)
    parts = [result.part for result in controller.results]
    wrong = sum(
        result.verdict != by_part[result.part]["verdict"]
        or (result.verdict == "accept" and not by_part[result.part]["exposed"])
        for result in controller.results
    )
    return LineAccount(
        triggered=len(controller.triggered),
        verdicts=dict(Counter(each["verdict"] for each in verdicts)),
        reasons=dict(Counter(each["reason"] for each in verdicts if each["verdict"] == "error")),
        outputs=len(parts),
        unread=len(set(by_part) - set(parts)),
        in_order=parts == sorted(set(parts)),
        products=dict(Counter(each["product"] for each in verdicts)),
        wrong_products=sum(each["product"] != selected[part] for part, each in by_part.items()),
        wrong_pictures=len(shown) - len(right),
        wrong_outputs=wrong,
        found=judged[True, "reject"],
        missed=judged[True, "accept"],
        false_rejects=judged[False, "reject"],
        delivered=delivered,
    )


def _read_verdicts(path: Path) -> tuple[list[dict[str, Any]], int]:
    with closing(sqlite3.connect(path)) as database:
        rows = database.execute("SELECT body, delivered FROM events ORDER BY sequence").fetchall()
    records = [(msgspec.json.decode(body, type=Event | SystemEvent), delivered) for body, delivered in rows]
    verdicts = [
        (each.facts, delivered)
        for each, delivered in records
        if isinstance(each, SystemEvent) and (each.rule, each.kind) == ("part", "verdict")
    ]
    return [facts for facts, _ in verdicts], sum(bool(delivered) for _, delivered in verdicts)
