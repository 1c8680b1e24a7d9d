"""The login at a network camera: Basic and Digest (RFC 7617, RFC 7616 and the RFC 2069 form of older cameras)."""

from __future__ import annotations

import base64
import hashlib
import re
import secrets

_PARAMETER = re.compile(r'(\w+)\s*=\s*(?:"([^"]*)"|([^\s,]+))')
_HASHES = {"": "md5", "MD5": "md5", "SHA-256": "sha256"}


class CameraLogin:
    """Adds the header field `Authorization` to requests, once a camera has asked for it.

    Args:
        user: empty: no login is known
        password: its password
    """

    def __init__(self, user: str, password: str) -> None:
        self.user, self.password = user, password
        self.scheme = ""
        self.challenge: dict[str, str] = {}
        self.count = 0

    def read_challenge(self, head: bytes) -> bool:
        """Reads what a camera asks for; False if there is no login, or none that this knows."""
        offers = {}
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(":")
            if name.strip().lower() == "www-authenticate":
                scheme, _, rest = value.strip().partition(" ")
                offers[scheme.lower()] = {key.lower(): quoted or bare for key, quoted, bare in _PARAMETER.findall(rest)}
        digest = offers.get("digest")
        if digest is not None and digest.get("algorithm", "").upper() in _HASHES and "nonce" in digest:
            self.scheme, self.challenge = "digest", digest
        elif "basic" in offers:
            self.scheme, self.challenge = "basic", offers["basic"]
        else:
            return False
        return bool(self.user)

    def sign(self, head: bytes) -> bytes:
        """The header of a request with the login, if the camera has asked for one."""
        if not self.scheme or not self.user:
            return head
        verb, uri, _ = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ", 2)
        value = self._basic() if self.scheme == "basic" else self._digest(verb, uri)
        first, rest = head.split(b"\r\n", 1)
        return first + b"\r\nAuthorization: " + value.encode() + b"\r\n" + rest

    def _basic(self) -> str:
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()

    def _digest(self, verb: str, uri: str) -> str:
        asked = self.challenge
        algorithm = asked.get("algorithm", "").upper()

        def digest(*parts: str) -> str:
            return hashlib.new(_HASHES[algorithm], ":".join(parts).encode(), usedforsecurity=False).hexdigest()

        realm, nonce = asked.get("realm", ""), asked["nonce"]
        who, what = digest(self.user, realm, self.password), digest(verb, uri)
        fields = {"username": self.user, "realm": realm, "nonce": nonce, "uri": uri}
        more = ""
        if "auth" in [each.strip() for each in asked.get("qop", "").split(",")]:
            self.count += 1
            count, own = f"{self.count:08x}", secrets.token_hex(8)
            fields |= {"response": digest(who, nonce, count, own, "auth", what), "cnonce": own}
            more = f", qop=auth, nc={count}"
        else:
            fields["response"] = digest(who, nonce, what)
        if "opaque" in asked:
            fields["opaque"] = asked["opaque"]
        if algorithm:
            more += f", algorithm={asked['algorithm']}"
        return "Digest " + ", ".join(f'{key}="{value}"' for key, value in fields.items()) + more
