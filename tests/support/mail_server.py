"""A real SMTP server that keeps the mails that it takes, with TLS and a login if it is asked to."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

PASSWORD = b"correct horse"


class MailServer:
    """A server on a free port.

    Args:
        pair: certificate and key; None: no TLS
        implicit: TLS from the first byte, instead of STARTTLS
        login: whether the user `box` must log in
        answer: answers DATA; by default each mail is accepted
        recipient: answers a recipient
    """

    def __init__(
        self,
        pair: tuple[Path, Path] | None = None,
        implicit: bool = False,
        login: bool = False,
        answer: Callable[[Envelope], str] = lambda _: "250 OK",
        recipient: Callable[[str], str] = lambda _: "250 OK",
    ) -> None:
        self.mails: list[EmailMessage] = []
        self.envelopes: list[Envelope] = []
        self.answer, self.recipient = answer, recipient
        context = None
        if pair is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*pair)
        keys: dict[str, Any] = {}
        if context is not None and not implicit:
            keys |= {"tls_context": context, "require_starttls": True}
        if login:
            keys |= {"authenticator": self._authenticate, "auth_required": True}
            keys["auth_require_tls"] = not implicit  # aiosmtpd means STARTTLS
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()
        make = self.loop.create_server(
            lambda: SMTP(self, loop=self.loop, **keys), "127.0.0.1", 0, ssl=context if implicit else None
        )
        self.server = asyncio.run_coroutine_threadsafe(make, self.loop).result(30)
        self.port: int = self.server.sockets[0].getsockname()[1]

    def _authenticate(self, _server: Any, _session: Session, _envelope: Envelope, _how: str, data: Any) -> AuthResult:
        return AuthResult(success=isinstance(data, LoginPassword) and data.password == PASSWORD, handled=False)

    async def handle_RCPT(  # noqa: N802  # the name that aiosmtpd calls
        self, _server: Any, _session: Session, envelope: Envelope, address: str, _options: list[str]
    ) -> str:
        if (answer := self.recipient(address)).startswith("250"):
            envelope.rcpt_tos.append(address)
        return answer

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        answer = self.answer(envelope)
        if answer.startswith("250"):
            assert isinstance(envelope.content, bytes)
            self.envelopes.append(envelope)
            self.mails.append(message_from_bytes(envelope.content, policy=policy.default))
        return answer

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.server.close)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(10)
        self.loop.close()


def text_of(mail: EmailMessage) -> str:
    """The text of a mail."""
    body = mail.get_body(("plain",))
    assert body is not None
    return str(body.get_content())
