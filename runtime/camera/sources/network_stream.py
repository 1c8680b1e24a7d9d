"""A camera in the network.

    rtsp://camera.local/stream1#fps=5
    http://camera.local/video.mjpg?size=vga#fps=5&timeout=5

Everything before `#` goes to the camera. Options after `#` are Vedette's: `fps` is the most frames a second, `timeout`
the seconds within which the camera must answer.
"""

from __future__ import annotations

from urllib.parse import quote

import msgspec

from ...config.credentials import read_secret
from ...errors import ConfigProblem
from ...plugin_tables import parse_options, split_url
from ...redaction import redact
from . import FrameRate, SourceAddress, TimeoutSeconds
from .live_camera import LiveCamera


class StreamOptions(msgspec.Struct, forbid_unknown_fields=True):
    """Options after `#`."""

    fps: FrameRate = 0.0
    timeout: TimeoutSeconds = 5.0


class NetworkStream(LiveCamera):
    """A network camera."""

    def __init__(self, address: SourceAddress) -> None:
        parts, shown = split_url(address.url, "source"), redact(address.url)
        if not parts.hostname:
            raise ConfigProblem(f"source {shown}: no host", hint="write it like rtsp://camera.local/stream1")
        options = parse_options(parts.fragment, StreamOptions, f"source {shown}: after #")
        if address.username:
            password = read_secret(address.password_file, "password_file")
            login = ":".join(quote(each, safe="") for each in (address.username, password) if each is not None)
            parts = parts._replace(netloc=f"{login}@{parts.netloc}")
        spec = {"reader": "stream", "url": parts._replace(fragment="").geturl(), "timeout": options.timeout}
        super().__init__(address, spec, options.fps)
