"""The orders that a box knows, with their outcomes: none is obeyed twice, not even after a power cut.

The file holds the last MAX_ORDERS. When an older one is forgotten, the time of its issue becomes the floor: nothing
that was issued before is taken any more. An order that was issued after another one had expired proves the time: the
other one is refused. So a recorded order cannot come back, even where no clock is synchronized.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

import msgspec

from ...atomic_file import make_private_folder, write_atomically
from ...bundle.signed_order import OrderRefused
from ...errors import UNREADABLE, MachineProblem
from .order import Dated, Order, check_age

log = logging.getLogger(__name__)

FOLDER = ".orders"  # no camera can have this name
MAX_ORDERS = 256
_HINT = "free space on the disk"

Outcome = Literal["accepted", "installed", "applied", "rolled back", "failed"]


class AnyOrder(Dated, Protocol):
    """An order of any kind."""

    @property
    def nonce(self) -> str:
        """Unique to the order."""


OrderT = TypeVar("OrderT", bound=AnyOrder)


class Known(msgspec.Struct, Generic[OrderT], frozen=True, omit_defaults=True):
    """An order that a box took."""

    order: OrderT
    reply_to: str
    correlation: bytes
    outcome: Outcome = "accepted"
    """`accepted`: it is being obeyed, or that was cut off."""
    detail: str = ""
    digest: str = ""
    """SHA-256 of the camera's file that an order for a configuration led to."""


KnownOrder = Known[Order]


class _File(msgspec.Struct, Generic[OrderT], frozen=True):
    floor: int = 0
    orders: tuple[Known[OrderT], ...] = ()


class Memory(Generic[OrderT]):
    """The orders of one kind that a box knows; all its daemons share them.

    Args:
        state: state folder of the device
        name: of the file
        kind: type of the orders
    """

    def __init__(self, state: Path, name: str, kind: type[OrderT]) -> None:
        self.folder = state / FOLDER
        self.path = self.folder / name
        self.file_type: Any = _File[kind]  # type: ignore[valid-type]

    def find(self, nonce: str) -> Known[OrderT] | None:
        """An order by its nonce; None: it is not known."""
        return next((known for known in self._read().orders if known.order.nonce == nonce), None)

    def find_where(self, fits: Callable[[OrderT], bool]) -> Known[OrderT] | None:
        """The first order that fits; None: there is none."""
        return next((known for known in self._read().orders if fits(known.order)), None)

    def unfinished(self) -> list[Known[OrderT]]:
        """Orders without an outcome."""
        return [known for known in self._read().orders if known.outcome == "accepted"]

    def claim(self, known: Known[OrderT], now: float | None) -> None:
        """Keeps an order durably, before it is obeyed. Call it within `lock`.

        Args:
            known: the order
            now: seconds since 1970 by a synchronized clock; None: there is none

        Raises:
            OrderRefused: it has expired, or is older than what is remembered.
            MachineProblem: the disk does not take it.
        """
        file = self._read(replace=True)
        check_age(known.order, now)
        if known.order.issued <= file.floor:
            raise OrderRefused("it was issued before orders that this box has forgotten: issue it again")
        newest = max((each.order.issued for each in file.orders), default=0)
        if known.order.expires < newest:
            raise OrderRefused("it expired before another order that this box has was issued")
        kept = sorted((*file.orders, known), key=lambda each: each.order.issued)
        forgotten, kept = kept[:-MAX_ORDERS], kept[-MAX_ORDERS:]
        floor = max((file.floor, *(each.order.issued for each in forgotten)))
        if known in forgotten:
            raise OrderRefused("it was issued before all orders that this box remembers: issue it again")
        self._write(_File(floor, tuple(kept)))

    def finish(self, nonce: str, outcome: Outcome, detail: str, digest: str = "") -> None:
        """Keeps the outcome of an order.

        Raises:
            MachineProblem: the disk does not take it.
        """
        file = self._read()
        orders = tuple(
            msgspec.structs.replace(known, outcome=outcome, detail=detail[:500], digest=digest)
            if known.order.nonce == nonce
            else known
            for known in file.orders
        )
        self._write(_File(file.floor, orders))

    @contextlib.contextmanager
    def lock(self, wait: float = 0.0) -> Iterator[int | None]:
        """Keeps the other daemons of the box from obeying an order at the same time.

        Args:
            wait: seconds to wait for it

        Yields:
            The descriptor of the lock, for a child process that must hold it, too; None: another one has it.

        Raises:
            MachineProblem: the state folder cannot be written.
        """
        try:
            make_private_folder(self.folder)
            file = (self.folder / "lock").open("w")
        except OSError as error:
            raise MachineProblem(f"{self.folder}: {error.strerror}", hint=_HINT) from None
        with file:
            end, held = time.monotonic() + wait, False
            while not held:
                with contextlib.suppress(BlockingIOError):
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    held = True
                if not held and time.monotonic() >= end:
                    break
                if not held:
                    time.sleep(0.1)
            yield file.fileno() if held else None

    def _read(self, *, replace: bool = False) -> _File[OrderT]:
        """The file. One that is damaged counts as a memory that ends now, and with `replace` that is kept."""
        try:
            file: _File[OrderT] = msgspec.json.decode(self.path.read_bytes(), type=self.file_type)
        except FileNotFoundError:
            return _File()
        except (OSError, *UNREADABLE) as error:
            file = _File(floor=int(time.time()))
            if replace:
                log.warning("%s is not readable: orders issued before now are refused: %s", self.path, error)
                self._write(file)
        return file

    def _write(self, file: _File[OrderT]) -> None:
        write_atomically(self.path, msgspec.json.encode(file) + b"\n", _HINT)


class OrderMemory(Memory[Order]):
    """The orders to install and to go back.

    Args:
        state: state folder of the device
    """

    def __init__(self, state: Path) -> None:
        super().__init__(state, "orders.json", Order)
