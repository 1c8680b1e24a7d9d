"""First-boot data for cloud-init (data source NoCloud): `user-data`, `network-config` and `meta-data`.

Any image works without them, for the box itself reads only its seed. They set what belongs to the system: host name,
network, time zone, and who may log in. A new instance id makes cloud-init run once more.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping

from .fleet_table import Box

FIRST_BOOT_UNIT = "vedette-first-boot.service"
_WORDS = ("y", "n", "yes", "no", "on", "off", "true", "false", "null")  # YAML 1.1 takes them for other than texts


def host_name(name: str) -> str:
    """A device name as a host name: dots and underscores become dashes."""
    return re.sub(r"[^a-z0-9-]", "-", name.lower()).strip("-") or "box"


def render_user_data(box: Box) -> str:
    """What cloud-init does at the first boot: the system's settings, then our first-boot unit if it has not run."""
    settings: dict[str, object] = {
        "hostname": host_name(box.name),
        "preserve_hostname": False,
        "manage_etc_hosts": True,
        "ssh_pwauth": False,
    }
    if box.timezone:
        settings["timezone"] = box.timezone
    if box.ssh_key:
        settings["ssh_authorized_keys"] = [box.ssh_key]
    settings["runcmd"] = [["systemctl", "start", "--no-block", FIRST_BOOT_UNIT]]
    return "#cloud-config\n" + render_yaml(settings)


def render_network_config(box: Box) -> str:
    """Netplan's version 2: the cable, and a wireless network if the row names one.

    A fixed address belongs to the wireless network if there is one, else to the cable.
    """
    link: dict[str, object] = {"dhcp4": not box.address, "optional": True}
    if box.address:
        link["addresses"] = [box.address]
        if box.gateway:
            family = "::/0" if ":" in box.gateway else "0.0.0.0/0"
            link["routes"] = [{"to": family, "via": box.gateway}]
    if box.dns:
        link["nameservers"] = {"addresses": list(box.dns)}
    if not box.wifi_ssid:
        return render_yaml({"version": 2, "ethernets": {"eth0": link}})
    point = {"password": box.wifi_password} if box.wifi_password else {}
    wireless = {**link, "regulatory-domain": box.wifi_country, "access-points": {box.wifi_ssid: point}}
    cable = {"dhcp4": True, "optional": True}
    return render_yaml({"version": 2, "ethernets": {"eth0": cable}, "wifis": {"wlan0": wireless}})


def render_meta_data(box: Box, instance: str) -> str:
    """The instance id, which tells cloud-init whether it has run for this card."""
    return render_yaml({"instance-id": instance, "local-hostname": host_name(box.name)})


def render_yaml(value: Mapping[str, object]) -> str:
    """A mapping as YAML in blocks. Texts are written as in JSON, which YAML reads the same."""
    return "".join(_lines(value, ""))


def _lines(value: object, indent: str) -> list[str]:
    lines = list[str]()
    if isinstance(value, Mapping):
        for key, content in value.items():
            lines += _entry(f"{indent}{_key(str(key))}:", content, f"{indent}  ")
    elif isinstance(value, list):
        for content in value:
            if isinstance(content, Mapping) and content:
                first, *others = _lines(content, f"{indent}  ")
                lines += [f"{indent}- {first.lstrip()}", *others]
            else:
                lines += _entry(f"{indent}-", content, f"{indent}  ")
    return lines


def _entry(start: str, content: object, indent: str) -> list[str]:
    is_flow = not isinstance(content, Mapping | list) or not content
    if is_flow or (isinstance(content, list) and not any(isinstance(each, Mapping) for each in content)):
        return [f"{start} {json.dumps(content, ensure_ascii=False)}\n"]
    return [f"{start}\n", *_lines(content, indent)]


def _key(key: str) -> str:
    is_plain = re.fullmatch(r"[a-z][a-z0-9_-]*", key) and key not in _WORDS
    return key if is_plain else json.dumps(key, ensure_ascii=False)
