"""The table `[golden_parts]` of a camera's file: reference parts that prove the inspection (docs/golden-parts.md)."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

_Every = Annotated[str, msgspec.Meta(pattern=r"^(shift|[1-9]\d{0,6} parts|[1-9]\d{0,3} h)\Z")]
_Serials = tuple[Annotated[str, msgspec.Meta(min_length=1, max_length=64)], ...]
_MOST = 64


class GoldenPartSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[golden_parts]`: which parts are references, and how often they have to pass."""

    good: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] | _Serials = 1
    """Parts that are known to be good: how many, or their serial numbers."""
    bad: Annotated[int, msgspec.Meta(ge=0, le=_MOST)] | _Serials = 1
    """Parts that are known to be bad; as many numbers as `good` has, or as many serial numbers."""
    every: tuple[_Every, ...] = ("shift",)
    """`shift`, `5000 parts`, `8 h`: whichever comes first."""
    mqtt: bool = False
    """True: signed orders at the broker may begin a check, and acknowledge a failure."""
    keys: str = ""
    """Folder of the `.pub` files whose keys sign them, relative to this file; empty: those that may sign bundles."""

    def __post_init__(self) -> None:
        if isinstance(self.good, int) != isinstance(self.bad, int):
            raise ValueError("good and bad: give both as numbers, or both as lists of serial numbers")
        if not self.count("good") or not self.count("bad"):
            raise ValueError("good and bad: at least one part of each, or the check proves nothing")
        if self.keys and not self.mqtt:
            raise ValueError("keys: they are for orders over MQTT, which are off; set mqtt = true")
        if len(set(self.serials)) < len(self.serials):
            raise ValueError("good and bad: a serial number is listed twice")

    def check_source(self, source: str) -> None:
        """Checks that there are triggers, and that no unsigned message says which part is a reference.

        Args:
            source: of the triggers; empty: there are none

        Raises:
            ValueError: there are none, or the serial numbers would come with MQTT messages.
        """
        if not source:
            raise ValueError("golden_parts: they need the table [trigger]")
        if self.serials and source.partition(":")[0] == "mqtt":
            told = "serial numbers come with unsigned triggers over MQTT, and could unlock the line"
            raise ValueError(f"golden_parts: {told}; give good and bad as numbers of parts")

    def count(self, kind: str) -> int:
        """Parts of a kind, `good` or `bad`."""
        given: int | tuple[str, ...] = getattr(self, kind)
        return given if isinstance(given, int) else len(given)

    @property
    def serials(self) -> list[str]:
        """Serial numbers of the references; empty: they are announced instead."""
        return [] if isinstance(self.good, int) or isinstance(self.bad, int) else [*self.good, *self.bad]

    def expected_of(self, serial: str) -> Literal["", "good", "bad"]:
        """What the part with a serial number is; empty: no reference."""
        if not isinstance(self.good, int) and serial in self.good:
            return "good"
        return "bad" if not isinstance(self.bad, int) and serial in self.bad else ""

    @property
    def each_shift(self) -> bool:
        """Whether the references have to pass at the beginning of each shift."""
        return "shift" in self.every

    @property
    def most_parts(self) -> int | None:
        """Parts after which they have to pass again; None: no limit."""
        return min((int(each.split()[0]) for each in self.every if each.endswith("parts")), default=None)

    @property
    def most_seconds(self) -> float | None:
        """Time after which they have to pass again; None: no limit."""
        return min((3600.0 * int(each.split()[0]) for each in self.every if each.endswith("h")), default=None)
