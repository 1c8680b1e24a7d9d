"""Mail: new events, and events about the device, are sent by SMTP; at most one mail in an interval.

The first event is sent at once. What happens until the interval is over comes in one mail, which lists every event. So
a storm of events makes few mails, and no event is missing.

A mail counts as delivered if the server takes it for one recipient at least. Its Message-ID is made of the event's
`id`: after a lost connection the same mail may come twice, and mail programs recognize it.
"""

from __future__ import annotations

import contextlib
import email.policy
import hashlib
import logging
import smtplib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from email.message import EmailMessage
from pathlib import PurePosixPath
from typing import NamedTuple
from urllib.parse import urlsplit

from ...config.credentials import read_secret
from ...config.sink_tables import MailSettings
from ..event import Attachment, Event, SystemEvent
from ..outbox import SequencedEvent
from ..sinks import Acknowledgement
from . import DeliveryFailed, ReceiverContext, is_wanted, one_line
from .client_tls import make_client_context
from .mail_client import connect_client
from .mail_text import MailItem, find_zone, make_item, make_subject, make_text

log = logging.getLogger(__name__)

MAX_ITEMS = 1000  # events in a mail
MAX_THUMBNAILS, MAX_THUMBNAIL_BYTES = 10, 4 << 20  # attached to a mail
_ERRORS = (OSError, ValueError)  # smtplib's are OSErrors
_PERMANENT = range(500, 600)


class Picture(NamedTuple):
    """A thumbnail, read from its file."""

    name: str
    kind: str
    """Media type."""
    content: bytes


class MailReceiver:
    """A mail server: `use = "smtp"`."""

    def __init__(self, settings: MailSettings, context: ReceiverContext) -> None:
        self.settings, self.context = settings, context
        self.interval = settings.interval
        self.password = read_secret(settings.password_file, f"password_file of the sink {settings.name}")
        self.tls = make_client_context(settings) if settings.security != "none" else None
        self.zone = find_zone(context.timezone)
        self.items: list[MailItem] = []
        self.tried = self.is_full = False
        """Once it was tried, a mail stays as it is: the server may have taken it, although it seemed to fail."""

    def wants(self, record: Event | SystemEvent) -> bool:
        is_news = record.rule != "evidence" if isinstance(record, SystemEvent) else record.kind == "new"
        return is_news and is_wanted(record, self.settings.rules)

    def add(self, row: SequencedEvent) -> bool:
        if self.tried or len(self.items) >= MAX_ITEMS:
            self.is_full = self.is_full or not self.tried
            return False
        self.items.append(make_item(row, self.context, self.zone))
        return True

    def clear(self) -> None:
        self.items, self.tried, self.is_full = [], False, False

    def deliver(self) -> list[Acknowledgement]:
        self.tried = True
        pictures, missing = self._read_pictures()
        try:
            with self._connect() as client:
                refused = self._send(client, self._compose(pictures, missing))
                if refused and pictures:  # it may be for their size
                    refused = self._send(client, self._compose([], missing))
        except _ERRORS as error:
            raise DeliveryFailed(f"{self.settings.host}: {_describe(error)}") from None
        answers = [Acknowledgement(item.sequence, refused=refused) for item in self.items]
        self.clear()
        return answers

    def _send(self, client: smtplib.SMTP, message: EmailMessage) -> str:
        """Sends a mail; returns why it is refused for good, or nothing."""
        try:
            refused = client.send_message(message, self.settings.sender, self.settings.to)
        except smtplib.SMTPRecipientsRefused as error:
            codes = [code for code, _ in error.recipients.values()]
            if not all(code in _PERMANENT for code in codes):
                raise
            return f"SMTP {codes[0]}: no recipient is accepted: {_text(next(iter(error.recipients.values()))[1])}"
        except smtplib.SMTPDataError as error:
            if error.smtp_code not in _PERMANENT:
                raise
            return f"SMTP {error.smtp_code}: {_text(error.smtp_error)}"
        for address, (code, reason) in refused.items():
            log.warning("the sink %s: the server refuses %s: %d %s", self.settings.name, address, code, _text(reason))
        return ""

    @contextlib.contextmanager
    def _connect(self) -> Iterator[smtplib.SMTP]:
        """A connection that is logged in."""
        name = self.context.device.replace("_", "-")
        with connect_client(self.settings, name, self.tls) as client:
            if self.password is not None:
                client.login(self.settings.username, self.password)
            yield client
            with contextlib.suppress(*_ERRORS):  # the mail is taken already
                client.quit()

    def _compose(self, pictures: Sequence[Picture], missing: Sequence[str]) -> EmailMessage:
        message, context = EmailMessage(policy=email.policy.SMTP), self.context
        message["From"], message["To"] = self.settings.sender, ", ".join(self.settings.to)
        message["Subject"] = make_subject(self.items, context)
        message["Date"] = datetime.fromtimestamp(context.clock.wall_time(), UTC)
        message["Message-ID"] = f"<{self._identifier()}@{context.device}.vedette.invalid>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's absence note comes back
        message.set_content(make_text(self.items, context, missing, self.is_full))
        for picture in pictures:
            kind, _, subkind = picture.kind.partition("/")
            message.add_attachment(picture.content, maintype=kind, subtype=subkind, filename=picture.name)
        return message

    def _identifier(self) -> str:
        first, last, count = self.items[0].id, self.items[-1].id, len(self.items)
        return first if count == 1 else f"{first}.{last}.{count}"

    def _read_pictures(self) -> tuple[list[Picture], list[str]]:
        """The thumbnails to attach, and the ids of the events whose thumbnail is gone."""
        pictures: list[Picture] = []
        missing, room = [], MAX_THUMBNAIL_BYTES
        for item in self.items if self.settings.thumbnails else []:
            if item.thumbnail is None or len(pictures) == MAX_THUMBNAILS or item.thumbnail.bytes > room:
                continue
            if (picture := self._read_picture(item.thumbnail)) is None:
                missing.append(item.id)
            else:
                pictures.append(picture)
                room -= len(picture.content)
        return pictures, missing

    def _read_picture(self, thumbnail: Attachment) -> Picture | None:
        """Reads a thumbnail from the store; None: it is gone, or another file has its name."""
        name = PurePosixPath(urlsplit(thumbnail.link).path).name
        for folder in (self.context.evidence, self.context.evidence / "waiting"):
            with contextlib.suppress(*_ERRORS):
                content = (folder / name).read_bytes()
                if hashlib.sha256(content).hexdigest() == thumbnail.sha256:
                    return Picture(name, thumbnail.type, content)
        return None

    def check(self) -> None:
        try:
            with self._connect() as client:
                client.noop()
        except _ERRORS as error:
            raise DeliveryFailed(f"{self.settings.host}: {_describe(error)}") from None

    def close(self) -> None:
        pass  # each mail has a connection of its own


def _describe(error: OSError | ValueError) -> str:
    if isinstance(error, smtplib.SMTPAuthenticationError):
        return f"refuses the login ({error.smtp_code}): check username and password_file"
    if isinstance(error, smtplib.SMTPResponseException):
        return f"{error.smtp_code} {_text(error.smtp_error)}"
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        return "; ".join(f"{code} {_text(reason)}" for code, reason in error.recipients.values())[:300]
    return str(error) or type(error).__name__


def _text(answer: bytes | str) -> str:
    """A server's answer in one line."""
    return one_line(answer.decode(errors="replace") if isinstance(answer, bytes) else answer)[:200]
