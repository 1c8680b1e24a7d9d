"""A limit of time for a whole exchange with a receiver: one that sends a byte now and then must not hold its thread.

A socket's own time-out begins anew with each byte. Here a second thread cuts the connection when the time is over.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

EXCHANGE_TIMEOUTS = 4
"""A whole exchange may take so many times the sink's `timeout`."""
_AGAIN_SECONDS = 0.2
_TROUBLE = (OSError, ValueError)


class ExchangeTooLong(TimeoutError):
    """The exchange was cut."""


@contextlib.contextmanager
def limit_exchange(seconds: float, get_socket: Callable[[], socket.socket | None]) -> Iterator[None]:
    """Cuts a connection that is still used after so many seconds.

    Args:
        seconds: how long the exchange may take
        get_socket: the socket that is used now, if there is one; called by another thread

    Raises:
        ExchangeTooLong: it was cut, and the exchange has failed.
    """
    done, cut = threading.Event(), threading.Event()

    def watch() -> None:
        wait = seconds
        while not done.wait(wait):
            cut.set()
            wait = _AGAIN_SECONDS  # the exchange may go on with another socket, of TLS
            with contextlib.suppress(*_TROUBLE):
                if (used := get_socket()) is not None:
                    socket.socket.shutdown(used, socket.SHUT_RDWR)  # as of TCP also under TLS, which would say goodbye

    threading.Thread(target=watch, name="exchange limit", daemon=True).start()
    try:
        yield
    except _TROUBLE:
        if cut.is_set():
            raise ExchangeTooLong(f"it has not answered completely in {seconds:g} s") from None
        raise
    finally:
        done.set()
