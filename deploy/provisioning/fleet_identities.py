"""Who the boxes, the broker and the operator are: certificates of the authority, or passwords."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vedette.runtime.errors import ConfigProblem

from ..seed import SeedBroker
from .certificate_authority import CertificateAuthority, Order
from .certificate_index import CertificateIndex, IssuedCertificate, current_time
from .fleet_settings import OPERATOR, READER, FleetBroker
from .provision_state import Login


def make_logins(known: Mapping[str, Login], boxes: tuple[str, ...], broker: FleetBroker) -> dict[str, Login]:
    """The known logins, and new ones for whoever lacks one."""
    users = [OPERATOR, READER, *(boxes if broker.login == "password" else ())]
    return {**known, **{user: Login.make() for user in users if user not in known}}


def server_name(broker: FleetBroker) -> str:
    """Common name of the broker's certificate."""
    return f"broker-{broker.host}".replace(":", "-")[:64]


def issue_certificates(
    authority: CertificateAuthority, broker: FleetBroker, boxes: tuple[str, ...], days: int
) -> tuple[list[str], list[str]]:
    """Signs what is missing: the broker's certificate and, if they log in so, those of the boxes and the operator.

    Args:
        authority: who signs
        broker: the broker
        boxes: names of the boxes
        days: life of new certificates

    Returns:
        Names that got a certificate, and names whose certificates should be renewed.

    Raises:
        ConfigProblem: a box has the name of the broker's certificate, or a certificate would outlive the authority.
    """
    if server_name(broker) in boxes:
        hint = "give the box another name"
        raise ConfigProblem(f"{server_name(broker)} is the name of the broker's certificate", hint=hint)
    index, now = CertificateIndex.read(authority.folder), current_time()
    newest = {each.name: each for each in index.newest()}
    hosts = tuple(dict.fromkeys([broker.host, *broker.hosts]))
    clients = (OPERATOR, *boxes) if broker.login == "certificate" else ()
    orders = [Order(name, days=days) for name in clients if not _is_current(authority, newest.get(name))]
    server = newest.get(server_name(broker))
    if not _is_current(authority, server) or (server and server.hosts != hosts):
        orders.append(Order(server_name(broker), "server", hosts, days))
    authority.sign(orders)
    signed = [order.name for order in orders]
    due = [each.name for each in index.due(now) if each.name in (*clients, server_name(broker))]
    return signed, [name for name in due if name not in signed]


def make_box_broker(
    broker: FleetBroker, name: str, logins: Mapping[str, Login], authority: CertificateAuthority | None
) -> SeedBroker:
    """What the seed of the box `name` says about the broker.

    Raises:
        ConfigProblem: the authority has no key of the box, because it signed a request.
    """
    login = logins[name] if broker.login == "password" else None
    certificate = key = ""
    if authority is not None and broker.login == "certificate":
        certificate, key = read_pair(authority, name)
    return SeedBroker(
        url=broker.url,
        prefix=broker.prefix,
        username=name if login else "",
        password=login.password if login else "",
        ca=(authority.folder / "ca.pem").read_text() if authority is not None and broker.is_tls else "",
        certificate=certificate,
        key=key,
    )


def read_pair(authority: CertificateAuthority, name: str) -> tuple[str, str]:
    """Certificate and key of a name, as PEM texts.

    Raises:
        ConfigProblem: one is missing.
    """
    texts = list[str]()
    for path in (_certificate_path(authority, name), authority.folder / "keys" / f"{name}.key"):
        try:
            texts.append(path.read_text())
        except OSError as error:
            hint = f"make a new pair: vedette ca renew {authority.folder} {name} --new-key"
            raise ConfigProblem(f"{path}: {error.strerror}", hint=hint) from None
    return texts[0], texts[1]


def _certificate_path(authority: CertificateAuthority, name: str) -> Path:
    return authority.folder / "certificates" / f"{name}.pem"


def _is_current(authority: CertificateAuthority, newest: IssuedCertificate | None) -> bool:
    """Whether the newest certificate of a name can go on: neither revoked nor over, and its file is there."""
    if newest is None or newest.state(current_time()) not in ("valid", "renew"):
        return False
    return _certificate_path(authority, newest.name).exists()
