"""Hostile requests to the device's page: its real server, and every route of its own table.

No request may end in a traceback, change a file without a session, its CSRF token and the page's own origin, or show a
secret. What the page may do with a session is ask for a change; it writes no camera's file itself.
"""

from __future__ import annotations

import json
import random
import re
import tempfile
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.parse import quote

from file_inputs import Keep
from mutations import mutate, random_of
from page_under_test import PageUnderTest
from starlette.routing import Mount, Route

from vedette.runtime.page.page_application import ROUTES

_ODD = (
    "", ".", "..", "../../vedette.toml", "%2e%2e%2fvedette.toml", "..%2f..%2f..%2f..%2fetc%2fpasswd", "a%00b", "%00",
    "%ff", "%ed%a0%80", "x" * 300, "%0d%0aX-Bad:%20yes", "<script>", "-1", "nan", "1e999", "'--", "belt%0a", "\\..\\",
)  # fmt: skip
_METHODS = ("GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT", "get", "P\x00ST", "X" * 40)
_HOSTS = ("127.0.0.1", "localhost:80", "box-7", "evil.example", "", "[::1", "127.0.0.1.nip.io", "a@127.0.0.1", "\xff")
_ORIGINS = ("http://evil.example", "null", "", "http://", "file://", "http://127.0.0.1.evil.example", "\xff")
_COOKIES = ("vedette=", "vedette=a; vedette=b", 'vedette="', "\xff", "=;=;=", f"language={'x' * 500}", "a=" * 900)
_TOO_LONG = "y" * 40_000


def fuzz_page(numbers: range, keep: Keep) -> Counter[str]:
    """Counts what the page answers to hostile requests."""
    counts = Counter[str]()
    with tempfile.TemporaryDirectory() as place, ExitStack() as stack:
        page = PageUnderTest(Path(place), stack)
        before = page.watched()
        for number in numbers:
            request, may_see, may_change = _make_request(random_of("page", number), page)
            detail = ""
            try:
                answer = page.send(request)
            except TimeoutError:
                answer, outcome, detail = b"", "no answer", "no answer"
            else:
                outcome, detail = _judge(answer, page, may_see)
            after = page.watched()
            if after != before and (wrong := _find_wrong_change(before, after, may_change)):
                outcome, detail = "traceback: changed without leave", wrong
            if page.traces:
                outcome, detail = "traceback", "\n".join(page.traces)
                page.traces.clear()
            counts[outcome] += 1
            if outcome.startswith(("traceback", "no answer")):
                keep("page", number, request, f"{detail}\n{answer[:2000]!r}")
            if after != before:
                page.clear_requests()
                after = page.watched()
            before = after
            if page.context.sessions.find(page.cookie) is None:  # signed out, or crowded out
                page.sign_in()
    return counts


def _judge(answer: bytes, page: PageUnderTest, may_see: bool) -> tuple[str, str]:
    """What an answer counts as, and what is wrong with it."""
    if not answer:
        return "closed without an answer", ""
    head, _, body = answer.partition(b"\r\n\r\n")
    status = head.split(b" ", 2)[1].decode("latin-1") if head.startswith(b"HTTP/") else "?"
    text = answer.decode("latin-1")
    unseen = [page.csrf, page.cookie, *page.site.events["belt"][1:], *page.site.events["door"][1:]]
    hidden = page.hidden if may_see else [*page.hidden, *unseen]
    if shown := next((each for each in hidden if each in text), ""):
        return "traceback: shows a secret", shown
    if b"\nX-Bad:" in head:
        return "traceback: a header of the request in the answer", ""
    if status == "500" or (status == "503" and b"requests wait already" not in body):
        return f"traceback: status {status}", text[:2000]
    return f"status {status}", ""


def _find_wrong_change(before: dict[str, Any], after: dict[str, Any], may_change: bool) -> str:
    """What a request changed that it may not."""
    changed = sorted(path for path in {*before, *after} if before.get(path) != after.get(path))
    permitted = [path for path in changed if re.search(r"reviews\.jsonl$|/requests/|/\.upload/", path)]
    return ", ".join(changed if not may_change else sorted({*changed} - {*permitted}))


def _make_request(rng: random.Random, page: PageUnderTest) -> tuple[bytes, bool, bool]:
    """A request; whether it may see events, and whether it may change something."""
    route, own = rng.choice(ROUTES), f"127.0.0.1:{page.port}"
    is_damaged = rng.random() < 0.15
    may_see = rng.random() < 0.75 and not is_damaged
    may_change, camera = may_see, rng.choice(page.site.cameras)
    path, body = _make_path(rng, page, route, camera), _make_body(rng, page, camera)
    methods = sorted(route.methods or ()) if isinstance(route, Route) else ["GET"]
    method = rng.choice(methods if rng.random() < 0.8 else _METHODS)
    headers = [("Host", own), ("Accept", rng.choice(("text/html", "application/json", "*/*")))]
    if may_see:
        wrong = ("", "\xff", page.csrf[:-1], page.csrf + "x", "z" * 9000)
        may_change = rng.random() < 0.8
        headers.append(("Cookie", f"vedette={page.cookie}"))
        headers.append(("X-CSRF-Token", page.csrf if may_change else rng.choice(wrong)))
    elif rng.random() < 0.3:
        headers.append(("Cookie", rng.choice(_COOKIES)))
    if rng.random() < 0.2:
        headers.append(("Origin", rng.choice(_ORIGINS)))
        may_change = False
    elif rng.random() < 0.7:
        headers.append(("Origin", f"http://{own}"))
    if rng.random() < 0.1:
        headers[0] = ("Host", host := rng.choice(_HOSTS))
        may_see, may_change = may_see and host in _HOSTS[:3], False
    if rng.random() < 0.1:
        wrong = ("Bearer ", f"Bearer {page.token[:-1]}", "Basic e30=", "Bearer \xff")
        headers.append(("Authorization", rng.choice(wrong)))
    headers += _odd_headers(rng)
    if rng.random() < 0.1:
        headers.append(("Transfer-Encoding", "chunked"))
        sent = b"".join(f"{len(each):x}\r\n".encode() + each + b"\r\n" for each in (body[:7], body[7:]) if each)
        sent += rng.choice((b"0\r\n\r\n", b"0\r\n\r\n", b"", b"ffffffffff\r\n", b"-1\r\n\r\n", b"0\r\nX: y\r\n\r\n"))
    else:
        odd = (0, -1, 1 << 18, (1 << 18) + 1, 1 << 63, "x", "1, 2", "9" * 20, "9" * 5000, "\xb2")
        headers.append(("Content-Length", str(len(body) if rng.random() < 0.95 else rng.choice(odd))))
        sent = body
    version = rng.choice((*("1.1",) * 9, "1.0", "2.0", "1.1.1"))
    lines = [f"{method} {path} HTTP/{version}", *(f"{name}: {value}" for name, value in headers)]
    request = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1", "replace") + sent
    return mutate(rng, request) if is_damaged else request, may_see, may_change


def _make_path(rng: random.Random, page: PageUnderTest, route: Any, camera: str) -> str:
    """A path of a route, whose parameters may be odd, with a query."""
    if isinstance(route, Mount):
        path = f"{route.path}/{rng.choice(('page.css', 'live.js', *_ODD))}"
    else:
        right = {"camera": camera, "event": page.site.events[camera][0], "suffix": rng.choice(("picture", "clip"))}
        right |= {"form": rng.choice(("csv", "json")), "id": "0" * 32}
        path = route.path
        for name in ("camera", "event", "suffix", "form", "id"):
            path = path.replace(f"{{{name}}}", right[name] if rng.random() < 0.75 else rng.choice(_ODD))
    if rng.random() < 0.4:
        names = ("viewer", "before", "value", "offset", "language", "camera", "rule", "label", "verdict", "x")
        values = ("0123456789abcdef", "ko", "nan", "inf", "-1e308", "1", *_ODD, quote("가" * 200), _TOO_LONG[:3000])
        path += "?" + "&".join(f"{rng.choice(names)}={rng.choice(values)}" for _ in range(rng.randint(0, 12)))
    if rng.random() < 0.02:
        path = rng.choice(("*", "//", "/" + _TOO_LONG, "http://evil.example/live", "/live/\xff", "/live\tbelt"))
    return path.replace(" ", "%20")


def _make_body(rng: random.Random, page: PageUnderTest, camera: str) -> bytes:
    """What a route takes, or something like it."""
    number: Any = rng.choice((0.5, -1, 1e308, 1e-320, 0, True, None, "0.5", 10**400, [], {}))
    points = [[0.1, 0.1], [0.5, rng.choice((0.5, number))], [0.3, 0.4]]
    shape = {"rule": rng.choice((-1, 0, 7)), "key": rng.choice(("privacy", "zones", "line", "x")), "points": points}
    shape |= {
        "use": rng.choice(("zone", "crossing", "presence")),
        "name": rng.choice(("", "yard", "\x00", '"]\n[broker]')),
    }
    verdict = {"verdict": rng.choice(("right", "label", "missed", "x"))}
    digest = page.digests[camera]
    bodies: list[Any] = [
        verdict | {"label": rng.choice(("", "dent", "\x00", "é" * 70, 5))},
        {"threshold": number, "save": rng.choice((True, False, 1)), "before": digest},
        {"digest": digest, "shapes": [shape] * rng.choice((0, 1, 1, 3, 500)), "undo": rng.choice((True, False))},
        {"digest": digest, "shapes": [{"rule": number, "key": number, "points": number}]},
        {"bytes": rng.choice((5, 1 << 31, number))},
        {"upload": rng.choice(("0" * 32, "", "../x")), "minutes": number, "name": "cells", "current": 4},
        {"upload": rng.choice(("0" * 32, "", number))},
        {"name": rng.choice(("cells", "../../etc", number)), "save": rng.choice((True, False)), "current": 4},
        [], {}, None, "x",
    ]  # fmt: skip
    form = f"user=vedette&secret={rng.choice(('x', '%ff', page.token[:-1], 'a' * 5000))}".encode()
    kind = rng.randrange(10)
    if kind < 6:
        text = json.dumps(rng.choice(bodies)).encode()
        return mutate(rng, text) if rng.random() < 0.2 else text
    if kind == 6:
        return form + b"&a=1" * rng.choice((0, 1, 9, 2000))
    if kind == 7:
        return rng.choice((b"[" * 100_000, b'{"a":' * 30_000, b"\xff" * 100, b"x" * (1 << 18), b"x" * ((1 << 18) + 1)))
    return b"" if kind == 8 else rng.randbytes(rng.randint(1, 300))


def _odd_headers(rng: random.Random) -> list[tuple[str, str]]:
    """Headers that some part of a server could trip over."""
    if rng.random() < 0.7:
        return []
    return rng.sample(
        [
            ("Accept-Language", rng.choice(("ko", "ko;q=x", "," * 3000, "\xff", "en;q=1e999,ko;q=nan", "*"))),
            ("Range", rng.choice(("bytes=0-", "bytes=5-1", "bytes=" + "0-1," * 900, "bytes=-999999999999999999", "x"))),
            ("If-Range", "\xff"), ("If-None-Match", "*"), ("If-Modified-Since", "Thu, 99 Jan 0000 99:99:99 GMT"),
            ("Sec-Fetch-Site", rng.choice(("cross-site", "none", "\xff"))),
            ("Expect", "100-continue"), ("Upgrade", "websocket"), ("Connection", "Upgrade"), ("TE", "trailers"),
            ("X-Forwarded-For", "127.0.0.1"), ("X-Forwarded-Host", "evil.example"), ("Cookie", "vedette=second"),
            ("Content-Type", rng.choice(("application/json", "multipart/form-data; boundary=", "\xff"))),
            ("X" * 200, "y" * 200), ("X-Long", _TOO_LONG),
        ],
        rng.randint(1, 4),
    )  # fmt: skip
