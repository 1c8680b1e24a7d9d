"""AWS Signature Version 4, required by S3-compatible stores ("Authenticating Requests", Amazon S3 API Reference).

The request is written in a canonical form; its digest is keyed with the secret, the day, the region and the service.
The store, which knows the secret, can verify the signature, and the signature does not reveal the secret. Libraries for
this contain a whole client (botocore has 25 MB); this module is all that a PUT needs.
tests/runtime/evidence/test_evidence.py checks it against Amazon's own examples.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec

_ALGORITHM = "AWS4-HMAC-SHA256"
_UNRESERVED = "-_.~"


class SigningKey(msgspec.Struct, frozen=True):
    """Access key of a store."""

    access: str
    secret: str
    region: str
    service: str = "s3"


def sign_request(
    method: str, url: str, headers: Mapping[str, str], digest: str, key: SigningKey, when: datetime
) -> dict[str, str]:
    """The headers together with those that sign the request.

    Args:
        method: such as `PUT`
        url: of the request
        headers: further headers to be signed
        digest: SHA-256 of the body, hexadecimal
        key: the access key
        when: now, UTC
    """
    parts, stamp = urlsplit(url), f"{when:%Y%m%dT%H%M%SZ}"
    signature_headers = {"host": parts.netloc, "x-amz-content-sha256": digest, "x-amz-date": stamp}
    all_headers = {name.lower(): " ".join(value.split()) for name, value in headers.items()} | signature_headers
    names = ";".join(sorted(all_headers))
    query = sorted(
        (quote(name, _UNRESERVED), quote(value, _UNRESERVED)) for name, value in parse_qsl(parts.query, True)
    )
    request = "\n".join(
        (
            method,
            quote(unquote(parts.path or "/"), f"/{_UNRESERVED}"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{all_headers[name]}" for name in sorted(all_headers)),
            "",
            names,
            digest,
        )
    )
    scope = f"{stamp[:8]}/{key.region}/{key.service}/aws4_request"
    string_to_sign = "\n".join((_ALGORITHM, stamp, scope, hashlib.sha256(request.encode()).hexdigest()))
    secret = f"AWS4{key.secret}".encode()
    for part in scope.split("/"):
        secret = hmac.digest(secret, part.encode(), "sha256")
    signature = hmac.digest(secret, string_to_sign.encode(), "sha256").hex()
    credential = f"{_ALGORITHM} Credential={key.access}/{scope}, SignedHeaders={names}, Signature={signature}"
    return {name: value for name, value in all_headers.items() if name != "host"} | {"authorization": credential}
