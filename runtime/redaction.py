"""Passwords are taken out of everything that people read: messages, log lines, reports.

What lies between `//` and the last `@` is taken for a login, even if that hides a little more than the login: a
password with `/`, `?`, `#`, `@` or a space ends a URL's login in the wrong place for every parser. The value of a query
parameter whose name speaks of a secret goes, too.
"""

from __future__ import annotations

import re

_HIDDEN = "…"
_LOGIN = re.compile(r"(?<=://)(?<!file://).*@", re.DOTALL)
# What remedies write as an example.
_PLACEHOLDER = re.compile(r"(?i)[\w ]*user(:password)?@")
_PARAMETER = re.compile(
    r"(?i)([?&;#](?:[\w-]*(?:pass|pwd|secret|token|auth|signature|credential)[\w-]*|(?:api)?key|usr|user|login)=)[^&;#\s'\"]+"
)


def redact(text: str) -> str:
    """The text without the logins and secret query parameters of the URLs in it."""
    shown = _PARAMETER.sub(rf"\1{_HIDDEN}", text)
    return _LOGIN.sub(lambda found: found[0] if _PLACEHOLDER.fullmatch(found[0]) else f"{_HIDDEN}@", shown)
