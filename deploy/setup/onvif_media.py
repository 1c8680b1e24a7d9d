"""Asks an ONVIF camera where its video is: the RTSP address of its first profile (ONVIF Core and Media specifications).

    GetSystemDateAndTime   the camera's clock, by which it judges the login; needs no login
    GetCapabilities        the address of its media service
    GetProfiles            the token of the first profile, which cameras use for the main stream
    GetStreamUri           the address

The login is a WS-Security digest: the password itself does not cross the network. Only the chosen host is contacted and
only it is named in the result, whatever the answers say.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import secrets
import ssl
from datetime import UTC, datetime
from urllib.parse import SplitResult, urlsplit, urlunsplit
from xml.etree import ElementTree
from xml.sax.saxutils import escape

import msgspec

from vedette.runtime.errors import ConfigProblem, MachineProblem

from ..seed import SeedCamera
from .onvif_discovery import parse_answer

SCHEME = "onvif:"
_TIMEOUT_SECONDS = 5.0
_ANSWER_BYTES = 1 << 20
_DEVICE, _MEDIA = "http://www.onvif.org/ver10/device/wsdl", "http://www.onvif.org/ver10/media/wsdl"
_STREAM_SETUP = (
    '<m:StreamSetup xmlns:t="http://www.onvif.org/ver10/schema"><t:Stream>RTP-Unicast</t:Stream><t:Transport>'
    "<t:Protocol>RTSP</t:Protocol></t:Transport></m:StreamSetup>"
)
_DIGEST = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-username-token-profile-1.0#PasswordDigest"
_SECURITY = """\
<s:Header><Security xmlns="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
 xmlns:u="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"><UsernameToken>
<Username>{user}</Username><Password Type="{kind}">{digest}</Password><Nonce>{nonce}</Nonce>
<u:Created>{created}</u:Created></UsernameToken></Security></s:Header>"""
_ENVELOPE = """\
<?xml version="1.0" encoding="UTF-8"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope">{header}
<s:Body><m:{verb} xmlns:m="{service}">{content}</m:{verb}></s:Body></s:Envelope>"""


def resolve_source(camera: SeedCamera) -> SeedCamera:
    """The camera with its RTSP address, if its source is `onvif:` and the address of its device service.

    Raises:
        ConfigProblem: it refuses the login, or the address is none.
        MachineProblem: it does not answer, or not as a camera.
    """
    if not camera.source.startswith(SCHEME):
        return camera
    service = camera.source.removeprefix(SCHEME)
    return msgspec.structs.replace(camera, source=find_stream(service, camera.username, camera.password))


def find_stream(service: str, user: str, password: str) -> str:
    """The RTSP address of a camera's first profile, without a login.

    Args:
        service: address of its ONVIF device service, http:// or https://
        user: empty: no login
        password: its password

    Raises:
        ConfigProblem: it refuses the login, or the address is none.
        MachineProblem: it does not answer, or not as a camera.
    """
    client = _Client(service, user, password)
    client.read_clock()
    found = client.ask(_DEVICE, "GetCapabilities", "<m:Category>Media</m:Category>", "Media/XAddr")
    client.path = _split(found).path or client.path
    token = client.ask(_MEDIA, "GetProfiles", "", "Profiles@token")
    text = f"{_STREAM_SETUP}<m:ProfileToken>{escape(token)}</m:ProfileToken>"
    address = client.ask(_MEDIA, "GetStreamUri", text, "MediaUri/Uri")
    parts = _split(address)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme not in ("rtsp", "rtsps", "http", "https") or not address.isprintable():
        raise MachineProblem(f"{client.host} names no address of a video", hint="type rtsp://HOST/PATH instead")
    host = f"[{client.host}]" if ":" in client.host else client.host
    return urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path, parts.query, ""))


class _Client:
    def __init__(self, service: str, user: str, password: str) -> None:
        parts = _split(service)
        if parts.scheme not in ("http", "https") or not parts.hostname or "@" in service:
            hint = "write onvif:http://HOST/onvif/device_service"
            raise ConfigProblem("not the address of an ONVIF device service", hint=hint)
        self.host, self.path, self.user, self.password = parts.hostname, parts.path or "/", user, password
        self.is_secure, self.port = parts.scheme == "https", parts.port
        self.clock_offset = 0.0

    def read_clock(self) -> None:
        """Notes how far the camera's clock is from ours; a camera that does not tell is taken at ours."""
        user, self.user = self.user, ""
        with contextlib.suppress(ConfigProblem, MachineProblem, ValueError):
            parts = [f"UTCDateTime/Date/{each}" for each in ("Year", "Month", "Day")]
            parts += [f"UTCDateTime/Time/{each}" for each in ("Hour", "Minute", "Second")]
            tree = self._post(_DEVICE, "GetSystemDateAndTime", "")
            moment = datetime(*[int(_find(tree, each)) for each in parts], tzinfo=UTC)  # type: ignore[misc,arg-type]
            self.clock_offset = moment.timestamp() - datetime.now(UTC).timestamp()
        self.user = user

    def ask(self, service: str, verb: str, content: str, what: str) -> str:
        """The text of an element of the answer, or an attribute after `@`; the first one.

        Raises:
            ConfigProblem: the login is refused.
            MachineProblem: there is no answer, or no such element.
        """
        answer = _find(self._post(service, verb, content), what)
        if not answer:
            raise MachineProblem(f"{self.host} does not answer {verb} as an ONVIF camera", hint="type rtsp://HOST/PATH")
        return answer

    def _post(self, service: str, verb: str, content: str) -> ElementTree.Element:
        body = _ENVELOPE.format(header=self._login(), verb=verb, service=service, content=content)
        kind = f'application/soap+xml; charset=utf-8; action="{service}/{verb}"'
        connection: http.client.HTTPConnection
        if self.is_secure:  # cameras sign their own certificates, see docs/cameras.md
            context = ssl._create_unverified_context()  # noqa: S323
            connection = http.client.HTTPSConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS, context=context)
        else:
            connection = http.client.HTTPConnection(self.host, self.port, timeout=_TIMEOUT_SECONDS)
        try:
            connection.request("POST", self.path, body.encode(), {"Content-Type": kind})
            response = connection.getresponse()
            answer = response.read(_ANSWER_BYTES)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
            raise MachineProblem(f"{self.host} does not answer: {reason}", hint="check the camera") from None
        finally:
            connection.close()
        if response.status in (401, 403) or b"NotAuthorized" in answer or b"FailedAuthentication" in answer:
            hint = "give the user name and password of the camera (often an ONVIF user of its own)"
            raise ConfigProblem(f"{self.host} refuses the login", hint=hint)
        return self._parse(answer, verb)

    def _parse(self, answer: bytes, verb: str) -> ElementTree.Element:
        try:
            return parse_answer(answer)
        except (ElementTree.ParseError, ValueError, LookupError):
            pass
        raise MachineProblem(f"{self.host} does not answer {verb} as an ONVIF camera", hint="type rtsp://HOST/PATH")

    def _login(self) -> str:
        if not self.user:
            return ""
        nonce = secrets.token_bytes(16)
        moment = datetime.fromtimestamp(datetime.now(UTC).timestamp() + self.clock_offset, UTC)
        created = moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        digest = hashlib.sha1(nonce + created.encode() + self.password.encode(), usedforsecurity=False).digest()
        texts = {"nonce": base64.b64encode(nonce).decode(), "digest": base64.b64encode(digest).decode()}
        return _SECURITY.format(user=escape(self.user), kind=_DIGEST, created=created, **texts)


def _split(address: str) -> SplitResult:
    """The parts of an address; without any if it is none."""
    try:
        return urlsplit(address)
    except ValueError:
        return urlsplit("")


def _find(tree: ElementTree.Element, what: str) -> str:
    """Text of the first element with these last names, of any namespace, or its attribute after `@`; else empty."""
    path, _, attribute = what.partition("@")
    found = tree.find(".//" + "/".join(f"{{*}}{name}" for name in path.split("/")))
    if found is None:
        return ""
    return found.get(attribute, "") if attribute else (found.text or "").strip()
