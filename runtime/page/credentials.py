"""What opens the page: a password, a token, or a link that `vedette page` prints when neither is set."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from pathlib import Path

import msgspec

from ..config.credentials import read_secret, resolve_credential_path
from ..config.page_table import PageSettings
from ..errors import ConfigProblem
from .password_hash import MIN_TOKEN, PasswordHash, decode_hash


class PageCredentials(msgspec.Struct, frozen=True):
    """The secrets of a page; at least one is set."""

    password: PasswordHash | None
    token: str
    """Empty: there is none."""
    is_for_this_start: bool = False
    """True if the token was made up by this process, and is told to whoever started it."""

    def accepts(self, secret: str) -> bool:
        """Whether somebody may sign in with this: the password or the token. It takes 0.2 s and more."""
        if self.accepts_token(secret):
            return True
        return self.password is not None and self.password.matches(secret)

    def accepts_token(self, secret: str) -> bool:
        """Whether this is the token."""
        return bool(self.token) and hmac.compare_digest(_digest(secret), _digest(self.token))


def load_credentials(settings: PageSettings, folder: Path) -> PageCredentials:
    """Reads the secrets of the page; where none is set, makes up a token for this start.

    Args:
        settings: `[page]`
        folder: with vedette.toml

    Raises:
        ConfigProblem: a file cannot be read, is not a hash, or the token is too short.
    """
    password = None
    if settings.password_file:
        path = resolve_credential_path(settings.password_file, folder)
        if not path.startswith("credential:") and not Path(path).exists():
            hint = "run vedette page password, which writes it; there is no default password"
            raise ConfigProblem(f"[page] password_file {path}: no such file", hint=hint)
        password = decode_hash(read_secret(path, "[page] password_file") or "", path)
    path = resolve_credential_path(settings.token_file, folder)
    token = (read_secret(path, "[page] token_file") or "").strip()
    if settings.token_file and len(token) < MIN_TOKEN:
        hint = f"openssl rand -hex 32 > {path}"
        raise ConfigProblem(f"[page] token_file {path}: {len(token)} characters; it needs {MIN_TOKEN}", hint=hint)
    if password is None and not token:
        return PageCredentials(None, secrets.token_urlsafe(32), is_for_this_start=True)
    return PageCredentials(password, token)


def _digest(secret: str) -> bytes:
    """Digests have one length, so that the comparison tells nothing about that of the token."""
    return hashlib.sha256(secret.encode(errors="surrogatepass")).digest()
