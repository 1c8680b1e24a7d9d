"""What a network camera answered instead of a stream, each in a sentence that says what to do."""

from __future__ import annotations

import errno
import socket
import ssl

NO_VIDEO = "it answers, but sends no video that can be read: check the path, and that it is H.264, H.265 or MJPEG"
NO_ANSWER = "it does not answer in time: check that the camera is switched on and reachable"


_STATUS = {
    404: "there is no such stream (404): check the path of the URL",
    454: "there is no such stream (454): check the path of the URL",
    453: "it cannot serve the stream now (453): too many viewers",
    503: "it cannot serve the stream now (503): too many viewers, or its encoder is off",
}
_UNREACHABLE = (errno.EHOSTUNREACH, errno.ENETUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
_HANGS_UP = "it hangs up without an answer"


def describe_status(status: int, has_login: bool) -> str:
    """A sentence about the status of an RTSP or HTTP answer; empty for success.

    Args:
        status: the number; 0: there is none
        has_login: whether a login is configured
    """
    if 200 <= status < 300:
        return ""
    if status == 0:  # what FFmpeg would make of it is not known
        return "it answers with no status: check the scheme and the port of the URL"
    if status in (401, 403):
        if has_login:
            return f"it refuses the password ({status}): check username and password_file"
        return f"it asks for a login ({status}): write username and password_file"
    if 300 <= status < 400:
        return f"it redirects to another address ({status}), which is not followed: write that address if you trust it"
    return _STATUS.get(status, f"it answers with the error {status}")


def describe_connection_error(error: OSError, host: str, port: int) -> str:
    """A sentence about a connection that did not come about."""
    reason = f"no connection to {host}:{port}: {error.strerror or error}"
    if isinstance(error, ConnectionRefusedError):
        reason = f"nothing listens at port {port} of {host}: check the port, and that the camera's server is on"
    elif isinstance(error, socket.gaierror):
        reason = f"the name {host} is unknown: check the name, and the name server of this machine"
    elif isinstance(error, ssl.SSLError):
        reason = f"it does not speak TLS at port {port}: write rtsp: or http: instead, or check the port"
    elif error.errno in _UNREACHABLE:
        reason = f"there is no route to {host}: check the address, the cable and the network of this machine"
    elif isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        reason = NO_ANSWER
    elif isinstance(error, ConnectionResetError | BrokenPipeError):
        reason = _HANGS_UP
    return reason
