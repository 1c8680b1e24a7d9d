"""AWS Signature Version 4, which S3-compatible stores ask for ("Authenticating Requests", Amazon S3 API Reference).

The request is written down in one canonical way, and its digest keyed with the secret, the day, the region and the
service. Whoever has the secret can check it, and nobody learns it. The libraries that do this bring a whole client
(botocore has 25 MB); this is all that a PUT needs, and tests/runtime/evidence/test_evidence.py checks it against
Amazon's own examples.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

_ALGORITHM = "AWS4-HMAC-SHA256"
_PLAIN = "-_.~"


class Key(msgspec.Struct, frozen=True):
    """Who asks."""

    access: str
    secret: str
    region: str
    service: str = "s3"


def signed(method: str, url: str, headers: Mapping[str, str], digest: str, key: Key, when: datetime) -> dict[str, str]:
    """The headers with those that sign the request.

    Args:
        method: as `PUT`
        url: as it will be asked for
        headers: that are to be signed, too
        digest: SHA-256 of the body, hexadecimal
        key: who asks
        when: now, UTC
    """
    parts, stamp = urlsplit(url), f"{when:%Y%m%dT%H%M%SZ}"
    own = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    all_headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | own
    names = ";".join(sorted(all_headers))
    query = sorted((quote(name, _PLAIN), quote(value, _PLAIN)) for name, value in parse_qsl(parts.query, True))
    request = "\n".join(
        (
            method,
            quote(unquote(parts.path or "/"), f"/{_PLAIN}"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{all_headers[name]}" for name in sorted(all_headers)),
            "",
            names,
            digest,
        )
    )
    scope = f"{stamp[:8]}/{key.region}/{key.service}/aws4_request"
    text = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    secret = f"AWS4{key.secret}".encode()
    for each in scope.split("/"):
        secret = hmac.digest(secret, each.encode(), "sha256")
    proof = hmac.digest(secret, text.encode(), "sha256").hex()
    credential = f"{_ALGORITHM} Credential={key.access}/{scope}, SignedHeaders={names}, Signature={proof}"
    return {name: value for name, value in all_headers.items() if name != "host"} | {"authorization": credential}
