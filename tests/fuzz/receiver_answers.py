"""Webhook and mail servers that answer whatever they like, behind the real forwarder and a real outbox.

What the outbox promises must hold: each event is accepted by the server, or a dead letter, or waits and comes later.
"""

from __future__ import annotations

import random
import re
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import Any
from unittest import mock

from file_inputs import Keep
from mutations import mutate, random_of
from odd_server import SANE_MAIL, TIMEOUT, OddServer, Script
from waiting import patience

from vedette.runtime.config.sink_tables import MailSettings, WebhookSettings
from vedette.runtime.events import receiver_forwarder
from vedette.runtime.events.event import Event, new_event_id
from vedette.runtime.events.outbox import Outbox
from vedette.runtime.events.receiver_forwarder import ReceiverForwarder
from vedette.runtime.events.receivers import ReceiverContext
from vedette.runtime.events.receivers.mail import MailReceiver
from vedette.runtime.events.receivers.webhook import WebhookReceiver

ROUND = 10
"""Events of one outbox. The server turns well-behaved when it has given as many odd answers."""


def fuzz_receivers(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what became of the events of rounds of odd answers; `lost` must stay 0."""
    counts = Counter[str]()
    for start in range(numbers.start, numbers.stop, ROUND):
        chosen = range(start, min(start + ROUND, numbers.stop))
        kind = ("webhook", "smtp")[start // ROUND % 2]
        scripts = [_make_script(random_of("receiver", number), kind) for number in chosen]
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(receiver_forwarder, "MAX_BACKOFF_SECONDS", 0.01),
        ):
            faults = _run_round(Path(folder), kind, scripts, counts)
        for fault in faults:
            counts[re.split("[:\n(]", fault)[0].strip().lower()] += 1
            keep("receiver", start, _as_bytes(scripts), fault)
    return counts


def _run_round(folder: Path, kind: str, scripts: list[Script], counts: Counter[str]) -> list[str]:
    """Delivers the events of one outbox; returns what went wrong."""
    server = OddServer(kind)
    server.scripts = list(scripts)
    outbox = Outbox(folder / "outbox.db", 1 << 22, volatile=True, camera="door", sinks=[kind])
    receiver, faults = _make_receiver(kind, server.port, outbox, folder), list[str]()
    receiver.deliver = _Watched(receiver.deliver, faults)  # type: ignore[method-assign]
    forwarder = ReceiverForwarder(outbox, kind, receiver)
    rules = [f"rule-{number}-" for number in range(ROUND)]
    forwarder.start()
    for rule in rules:
        identity = new_event_id()
        outbox.put(Event(identity, identity, "door", rule, "new", 1e9, 0, 1e9, 1.0))
        forwarder.wake()
    deadline = time.monotonic() + (len(scripts) * 6 * TIMEOUT + 30) * patience()
    while forwarder.is_alive() and forwarder.queue.count_pending() and time.monotonic() < deadline:
        time.sleep(0.01)
    figures = forwarder.figures()
    time.sleep(0.1)  # the server's threads note what they took
    taken = b"".join(server.taken)
    gone = [rule for rule in rules if rule.encode() not in taken]
    if not forwarder.is_alive():
        faults.append("traceback: the forwarder ended")
    elif figures.backlog:
        faults.append(f"no answer: {figures.backlog} events still wait: {figures.trouble}")
    elif len(gone) > figures.dead:
        faults.append(f"lost: {len(gone) - figures.dead} events are neither accepted nor dead letters")
    forwarder.stop(0.0)
    forwarder.wait_for_end()
    outbox.close()
    server.listener.close()
    counts["events accepted"] += figures.delivered
    counts["dead letters"] += figures.dead
    counts["odd answers"] += len(scripts) - len(server.scripts)
    return faults


def _make_receiver(kind: str, port: int, outbox: Outbox, folder: Path) -> Any:
    context = ReceiverContext("box7", "door", "/a/b/c/box7", "UTC", folder, outbox.epoch, outbox.clock)
    if kind == "webhook":
        return WebhookReceiver(WebhookSettings(url=f"http://127.0.0.1:{port}/", timeout=TIMEOUT), context)
    settings = MailSettings(
        host="127.0.0.1", port=port, security="none", sender="a@b.c", to=("d@e.f",), interval=0.0, timeout=TIMEOUT
    )
    return MailReceiver(settings, context)


class _Watched:
    """The method `deliver` of a receiver; notes what it may not do."""

    def __init__(self, deliver: Any, faults: list[str]) -> None:
        self.deliver, self.faults = deliver, faults

    def __call__(self) -> Any:
        began = time.monotonic()
        try:
            return self.deliver()
        except ConnectionError as error:
            if not str(error).isprintable() or len(str(error)) > 600:
                self.faults.append(f"traceback: a reason that is no line: {str(error)[:200]!r}")
            raise
        except Exception:
            self.faults.append(traceback.format_exc())
            raise
        finally:
            if (seconds := time.monotonic() - began) > 6 * TIMEOUT * patience() + 2:
                self.faults.append(f"no answer: an exchange held the thread for {seconds:.1f} s")


def _as_bytes(scripts: list[Script]) -> bytes:
    return b"\n----\n".join(b"".join(each.pieces)[:4096] + f" [{each.end}]".encode() for each in scripts)


def _make_script(rng: random.Random, kind: str) -> Script:
    """What one connection says."""
    end = rng.choices(("close", "endless", "drip", "silence"), (20, 1, 1, 1))[0]
    if kind == "webhook":
        return Script((_make_answer(rng, end),), end)
    pieces = [each + b"\r\n" for each in SANE_MAIL]
    for _ in range(rng.randint(1, 3)):
        pieces[rng.randrange(len(pieces))] = _make_reply(rng)
    if rng.random() < 0.2:
        pieces = [mutate(rng, each) for each in pieces]
    if end in ("endless", "drip"):
        pieces = pieces[: rng.randint(1, len(pieces))]
        if end == "endless":
            pieces[-1] = rng.choice((b"250-x\r\n", b"220-" + b"y" * 500 + b"\r\n", b"z" * 1000, b"334 eA==\r\n"))
    return Script(tuple(pieces), end)


def _make_reply(rng: random.Random) -> bytes:
    code = rng.choice(
        ("250", "220", "354", "421", "450", "500", "550", "599", "600", "999", "000", "-1", "2", "", "25x")
    )
    text = rng.choice(("ok", "", "\x1b[2J", "é" * 50, "x" * 9000, "a\r\n250 b", "-", "SIZE 0", "AUTH PLAIN", "\0"))
    if rng.random() < 0.1:
        return rng.randbytes(rng.randint(1, 300))
    sign = rng.choice((" ", " ", "-", ""))
    return f"{code}{sign}{text}\r\n".encode() * rng.choice((1, 1, 1, 3))


def _make_answer(rng: random.Random, end: str) -> bytes:
    if end == "endless":
        many = (b"HTTP/1.1 100 Continue\r\n\r\n", b"X: y\r\n", b"z" * 1000)
        return rng.choice((b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 503 A\r\n\r\n")) + rng.choice(many)
    status = rng.choice(
        (200, 204, 301, 302, 400, 401, 404, 408, 410, 429, 500, 503, 599, 600, 99, 1000, 101, "x", "", -1)
    )
    reason = rng.choice(("OK", "", "\x1b[2J", "x" * 70_000, "\xff"))
    names = [
        ("Retry-After", rng.choice(("0", "-1", "1e9", "\xb2", "x", "Sat, 99 Foo 99999 99:99:99 GMT", "9" * 400))),
        ("Content-Length", rng.choice(("0", "5", "-5", "x", "99999999999999999999", "\xb2"))),
        ("Transfer-Encoding", rng.choice(("chunked", "gzip", "CHUNKED, chunked"))),
        ("Location", rng.choice(("http://evil.example/", "\x1b[2J", "\\\\evil", ""))),
        ("Date", rng.choice(("Mon, 01 Jan 0001 00:00:00 -9999", "x", "", "Thu, 01 Jan 1970 00:00:00 GMT"))),
        ("Connection", rng.choice(("close", "keep-alive"))),
        ("X", "y" * rng.choice((1, 70_000))), ("", ""), ("no colon", ""),
    ]  # fmt: skip
    headers = rng.sample(names, rng.randint(0, 5)) * rng.choice((1, 1, 1, 40))
    wait = [
        each for each in headers if each[0] != "Retry-After" or len(each[1]) < 3
    ]  # the others wait an hour, rightly
    body = rng.choice(
        (b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"-1\r\n", b"fffffffff\r\n", rng.randbytes(50), b"x" * 5000)
    )
    lines = [f"HTTP/{rng.choice(('1.1', '1.1', '1.0', '9', ''))} {status} {reason}"]
    lines += [f"{name}: {value}" for name, value in wait]
    answer = "\r\n".join([*lines, "", ""]).encode("latin-1") + body
    if rng.random() < 0.2:
        answer = mutate(rng, answer)
    return rng.randbytes(rng.randint(0, 200)) if rng.random() < 0.05 else answer
