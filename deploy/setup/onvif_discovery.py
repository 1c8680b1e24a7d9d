"""ONVIF cameras in the network, by WS-Discovery (OASIS, 2005/04): a probe to a multicast address, and who answers.

The probe goes out of every interface, because a multicast leaves by one of them only, and a box at a camera switch has
two. Answers come from anybody in the network: they are small, without a DTD, and only shown and offered for a choice.
"""

from __future__ import annotations

import contextlib
import ipaddress
import re
import socket
import time
import uuid
from urllib.parse import unquote, urlsplit
from xml.etree import ElementTree

from .found_camera import FoundCamera

MULTICAST = ("239.255.255.250", 3702)
_ANSWER_BYTES = 65535
_MOST_CAMERAS = 256
_SCOPE = re.compile(r"onvif://www\.onvif\.org/(name|hardware)/(\S+)", re.IGNORECASE)
_PROBE = """\
<?xml version="1.0" encoding="UTF-8"?>
<e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing"
 xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" xmlns:dn="http://www.onvif.org/ver10/network/wsdl">
<e:Header><w:MessageID>uuid:{message}</w:MessageID><w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>
<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>
<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>
"""


def find_onvif_cameras(seconds: float, target: tuple[str, int] = MULTICAST) -> list[FoundCamera]:
    """The cameras that answer a probe within that time, each once; empty if there is no network.

    Args:
        seconds: how long to wait for answers
        target: address and port that are probed
    """
    message = str(uuid.uuid4())
    found: dict[str, FoundCamera] = {}
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as channel:
        channel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, 1)
        channel.bind(("", 0))
        _send_probe(channel, _PROBE.format(message=message).encode(), target)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0 and len(found) < _MOST_CAMERAS:
            channel.settimeout(left)
            try:
                answer, (host, _port) = channel.recvfrom(_ANSWER_BYTES)
            except OSError:  # the time is over, or a host refused the probe
                continue
            for camera in read_probe_matches(answer, message, host):
                found.setdefault(camera.service, camera)
    return sorted(found.values(), key=lambda each: each.service)


def _send_probe(channel: socket.socket, probe: bytes, target: tuple[str, int]) -> None:
    if not ipaddress.ip_address(target[0]).is_multicast:
        channel.sendto(probe, target)
        return
    for number, _name in socket.if_nameindex():
        with contextlib.suppress(OSError):  # an interface without an address
            # struct ip_mreqn (ip(7)): group, address, index
            choice = socket.inet_aton("0.0.0.0") * 2 + number.to_bytes(4, "little")  # noqa: S104 - any address
            channel.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, choice)
            channel.sendto(probe, target)


def read_probe_matches(answer: bytes, message: str, host: str) -> list[FoundCamera]:
    """The cameras of one answer; empty if it is none to the probe with this ID, or malformed.

    Args:
        answer: a datagram
        message: ID of the probe
        host: who sent it; of several addresses of a camera, that with this host is taken
    """
    try:
        tree = parse_answer(answer)
    except (ElementTree.ParseError, ValueError, LookupError):
        return []
    relates = [each.text or "" for each in tree.iter() if _local(each) == "RelatesTo"]
    if not any(message in each for each in relates):
        return []
    cameras = []
    for match in (each for each in tree.iter() if _local(each) == "ProbeMatch"):
        facts = {_local(each): (each.text or "").strip() for each in match}
        service = _choose_address(facts.get("XAddrs", "").split(), host)
        if service:
            cameras.append(FoundCamera("onvif", _title(facts.get("Scopes", "")) or host, service=service))
    return cameras


def _choose_address(addresses: list[str], host: str) -> str:
    usable = []
    for address in addresses:
        with contextlib.suppress(ValueError):
            parts = urlsplit(address)
            if parts.scheme in ("http", "https") and parts.hostname and "@" not in address and address.isprintable():
                usable.append((parts.hostname != host, address))
    return min(usable)[1] if usable else ""


def _title(scopes: str) -> str:
    """Name and model, as the scopes give them."""
    parts = {kind.lower(): unquote(value) for kind, value in _SCOPE.findall(scopes)}
    name, model = parts.get("name", ""), parts.get("hardware", "")
    title = name if model in name else f"{name} {model}".strip()
    return "".join(each for each in title if each.isprintable())[:80]


def parse_answer(answer: bytes) -> ElementTree.Element:
    """The XML of an answer, read as UTF-8 whatever it declares: in another encoding a DTD could hide.

    Raises:
        ValueError: it has a DTD, which could define entities; or another encoding (UnicodeDecodeError).
        ElementTree.ParseError: it is no XML.
    """
    text = answer.decode("utf-8")
    if "<!" in text:
        raise ValueError("a DTD")
    return ElementTree.fromstring(text)  # noqa: S314 - without a DTD there is nothing to expand


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]
