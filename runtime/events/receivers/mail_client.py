"""An SMTP client whose server can hold it neither with endless answers nor with slow ones."""

from __future__ import annotations

import contextlib
import smtplib
import ssl
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

from ...config.sink_tables import MailSettings
from .exchange_limit import EXCHANGE_TIMEOUTS, limit_exchange

MAX_ANSWER_BYTES = 1 << 20
"""Of all answers of a connection."""


class _Answers:
    """The lines that a server sends, up to a limit."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.left = file, MAX_ANSWER_BYTES

    def readline(self, limit: int) -> bytes:
        line = self.file.readline(limit)
        self.left -= len(line)
        if self.left < 0:
            raise ConnectionError(f"it answers more than {MAX_ANSWER_BYTES >> 20} MiB")
        return line

    def close(self) -> None:
        self.file.close()


class _LimitedClient(smtplib.SMTP):
    """Tells of itself before it connects, and reads limited answers."""

    def __init__(self, tell: Callable[[smtplib.SMTP], None], *arguments: Any, **more: Any) -> None:
        self.tell = tell
        super().__init__(*arguments, **more)

    def connect(self, *arguments: Any, **more: Any) -> tuple[int, bytes]:
        self.tell(self)
        return super().connect(*arguments, **more)

    def getreply(self) -> tuple[int, bytes]:
        if self.file is None and self.sock is not None:
            self.file = _Answers(self.sock.makefile("rb"))
        return super().getreply()


class _LimitedTlsClient(_LimitedClient, smtplib.SMTP_SSL):
    pass


@contextlib.contextmanager
def connect_client(settings: MailSettings, name: str, tls: ssl.SSLContext | None) -> Iterator[smtplib.SMTP]:
    """A connection, with TLS if the settings want it, that is cut if it is used for too long.

    Args:
        settings: of the sink
        name: of this machine, for the greeting
        tls: settings of TLS; None: there is none

    Raises:
        OSError: there is no connection; smtplib's errors are OSErrors.
        ExchangeTooLong: it was cut.
    """
    told: list[smtplib.SMTP] = []
    timeout = settings.timeout
    with limit_exchange(EXCHANGE_TIMEOUTS * timeout, lambda: told[-1].sock if told else None):
        more: dict[str, Any] = {"timeout": timeout}
        kind: type[_LimitedClient] = _LimitedClient
        if settings.security == "tls":
            kind, more = _LimitedTlsClient, more | {"context": tls}
        client = kind(told.append, settings.host, settings.server_port, name, **more)
        with contextlib.closing(client):
            if settings.security == "starttls":
                client.starttls(context=tls)
            yield client
