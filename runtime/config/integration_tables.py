"""The tables of vedette.toml that turn on messages for other programs (docs/integrations.md). All are off at first."""

from __future__ import annotations

from typing import Annotated

import msgspec

TopicPrefix = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*)?\Z")]
"""First level, or levels, of topics; empty: off."""


class HomeAssistantSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[home_assistant]`: discovery of the cameras by Home Assistant."""

    discovery_prefix: TopicPrefix = ""
    """Home Assistant's own setting, there by default `homeassistant`; empty: off."""
    pictures: bool = False
    """True: the thumbnail of the last event is published, too. It leaves the device then."""

    @property
    def is_enabled(self) -> bool:
        """True if the integration is on."""
        return bool(self.discovery_prefix)


class FrigateSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[frigate]`: topics and payloads as Frigate publishes them."""

    topic_prefix: TopicPrefix = ""
    """First level, or levels, of the topics, in Frigate by default `frigate`; empty: off."""
    snapshots: bool = False
    """True: the thumbnail of an event is published, too. It leaves the device then."""
    width: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 1280
    """Boxes are given in pixels of a picture of this size, as Frigate's `detect` sets it."""
    height: Annotated[int, msgspec.Meta(ge=1, le=65536)] = 720

    @property
    def is_enabled(self) -> bool:
        """True if the integration is on."""
        return bool(self.topic_prefix)


class OnvifSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`[onvif]`: events as ONVIF cameras publish them over MQTT."""

    enabled: bool = False
    topic_prefix: TopicPrefix = ""
    """First level, or levels, of the topics; no other device may have it. Empty: those of the device's own topics."""

    @property
    def is_enabled(self) -> bool:
        """True if the integration is on."""
        return self.enabled


class IntegrationSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The tables of all integrations."""

    home_assistant: HomeAssistantSettings = HomeAssistantSettings()
    frigate: FrigateSettings = FrigateSettings()
    onvif: OnvifSettings = OnvifSettings()
