"""`[page]` in vedette.toml: what is safe, what is refused, and what the command says."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from page_site import PASSWORD

from vedette.runtime import cli
from vedette.runtime.config.page_table import PageSettings
from vedette.runtime.errors import ConfigProblem, MachineProblem, Problem
from vedette.runtime.page.credentials import load_credentials
from vedette.runtime.page.listen_address import parse_listen_address
from vedette.runtime.page.page_server import load_page_settings, serve_page
from vedette.runtime.page.password_hash import PasswordHash, decode_hash, hash_password
from vedette.runtime.page.sessions import IDLE_SECONDS, MAX_FAILURES_OF_ALL, MAX_SESSIONS, SessionStore, SignInLimit


def write(folder: Path, page: str) -> Path:
    (folder / "cameras").mkdir(exist_ok=True)
    (folder / "vedette.toml").write_text(f'[device]\nname = "box"\n{page}')
    return folder


@pytest.mark.parametrize("listen", ["127.0.0.1:8080", "[::1]:8080", "localhost:80"])
def test_only_this_machine_needs_no_tls(listen: str) -> None:
    assert parse_listen_address(PageSettings(listen=listen)).is_loopback


@pytest.mark.parametrize("listen", ["0.0.0.0:8080", "192.0.2.1:8443", "[::]:8443"])
def test_other_machines_need_tls_and_a_secret(listen: str) -> None:
    tls = {"cert_file": "page.crt", "key_file": "page.key"}
    with pytest.raises(ConfigProblem, match="no TLS"):
        parse_listen_address(PageSettings(listen=listen, password_file="p"))
    with pytest.raises(ConfigProblem, match="without a password"):
        parse_listen_address(PageSettings(listen=listen, **tls))
    assert not parse_listen_address(PageSettings(listen=listen, password_file="p", **tls)).is_loopback
    assert not parse_listen_address(PageSettings(listen=listen, token_file="t", **tls)).is_loopback


@pytest.mark.parametrize(
    "listen", ["8080", "box:8080", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:70000", "::1:80x", ":80"]
)
def test_a_wrong_address_is_named(listen: str) -> None:
    with pytest.raises(ConfigProblem, match="listen"):
        parse_listen_address(PageSettings(listen=listen))


def test_a_wrong_table_is_named(tmp_path: Path) -> None:
    for table, said in (
        ("[page]\nlisten = 8080\n", "listen"),
        ("[page]\nport = 8080\n", "port"),
        ('[page]\ncert_file = "a"\n', "go together"),
        ('[page]\nhosts = ["a b"]\n', "hosts"),
        ("[pages]\n", "pages"),
    ):
        with pytest.raises(ConfigProblem, match=said):
            load_page_settings(write(tmp_path, table))


def test_secrets_are_read_or_named(tmp_path: Path) -> None:
    made = load_credentials(PageSettings(), tmp_path)
    assert made.is_for_this_start
    assert made.accepts(made.token)
    assert not made.accepts("")
    with pytest.raises(ConfigProblem, match="no such file") as caught:
        load_credentials(PageSettings(password_file="secret"), tmp_path)
    assert "vedette page password" in caught.value.hint
    (tmp_path / "token").write_text("short\n")
    with pytest.raises(ConfigProblem, match="it needs 32"):
        load_credentials(PageSettings(token_file="token"), tmp_path)
    (tmp_path / "token").write_text("x" * 32 + "\n")
    assert load_credentials(PageSettings(token_file="token"), tmp_path).accepts("x" * 32)


def test_password_is_kept_as_a_hash_alone(tmp_path: Path) -> None:
    made = hash_password(PASSWORD)
    line = made.encode()
    assert PASSWORD not in line
    assert decode_hash(f"{line}\n", "f") == made
    assert made.matches(PASSWORD)
    assert hash_password(PASSWORD).salt != made.salt
    for text in (
        "",
        PASSWORD,
        "scrypt$2$8$1$AAAAAAAAAAA=$AAAA",
        line.replace("16384", "1048576"),
        line[:-5],
        f"{line}$x",
    ):
        with pytest.raises(ConfigProblem):
            decode_hash(text, "f")
    with pytest.raises(ConfigProblem, match="needs 10"):
        hash_password("123456789")
    assert not PasswordHash(b"8" * 8, b"0" * 32).matches("x" * 5000)


def test_command_sets_the_password(tmp_path: Path) -> None:
    folder = write(tmp_path, '[page]\nlisten = "127.0.0.1:8080"\npassword_file = "secrets/page"\n')
    done = CliRunner().invoke(
        cli.vedette, ["page", "--config", str(folder), "password"], input=f"{PASSWORD}\n{PASSWORD}\n"
    )
    assert done.exit_code == 0, done.output
    path = folder / "secrets" / "page"
    assert path.stat().st_mode & 0o777 == 0o640
    assert decode_hash(path.read_text(), "f").hash
    assert PASSWORD not in done.output


def test_command_says_that_the_page_is_off_and_what_is_wrong(tmp_path: Path) -> None:
    done = CliRunner().invoke(cli.vedette, ["page", "--config", str(write(tmp_path, ""))])
    assert done.exit_code == 0
    assert "the page is off" in done.output
    tls = '[page]\nlisten = "0.0.0.0:1"\ntoken_file = "t"\ncert_file = "c"\nkey_file = "k"\n'
    (tmp_path / "t").write_text("x" * 40)
    for table, said in (
        ('[page]\nlisten = "0.0.0.0:8080"\n', "no TLS"),
        (tls, "cert_file"),
        ('[page]\nlisten = "192.0.2.1:1"\n', "no TLS"),
    ):
        with pytest.raises(Problem, match=said):
            serve_page(write(tmp_path, table), print)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        write(tmp_path, f'[page]\nlisten = "127.0.0.1:{taken.getsockname()[1]}"\n')
        with pytest.raises(MachineProblem, match="Address already in use"):
            serve_page(tmp_path, print)


def test_times_are_those_of_the_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as changed:
        changed.setenv("TZ", "UTC")
        page = '[page]\nlisten = "127.0.0.1:8080"\n'
        (write(tmp_path, "") / "vedette.toml").write_text(f'[device]\ntimezone = "Asia/Seoul"\n{page}')
        opened = socket.socket()
        opened.close()
        with pytest.raises(OSError, match="Bad file descriptor"):
            serve_page(tmp_path, print, opened)
        assert time.strftime("%H:%M", time.localtime(0)) == "09:00"
    time.tzset()


def test_sessions_end_and_attempts_are_counted() -> None:
    now = [0.0]
    store, limit = SessionStore(lambda: now[0]), SignInLimit(lambda: now[0])
    first = store.start()
    for _ in range(MAX_SESSIONS):
        now[0] += 1
        last = store.start()
    assert store.find(first) is None, "the one used least recently ends"
    assert store.find(last) is not None
    now[0] += IDLE_SECONDS + 1
    assert store.find(last) is None
    for number in range(MAX_FAILURES_OF_ALL):
        assert limit.seconds_to_wait(f"192.0.2.{number}") == 0
        limit.count_failure(f"192.0.2.{number}")
    assert limit.seconds_to_wait("198.51.100.1") > 0, "many addresses together are limited, too"
    now[0] += 61
    assert limit.seconds_to_wait("192.0.2.1") == 0


def test_daemon_does_not_load_the_page() -> None:
    code = (
        "import sys, vedette.runtime.cli, vedette.runtime.daemon, vedette.runtime.commands.run\n"
        "print([n for n in sys.modules if 'runtime.page' in n or n.split('.')[0] in ('starlette', 'uvicorn', 'PIL')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_the_page_loads_no_heavy_library() -> None:
    code = "import sys, vedette.runtime.page.page_application; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "vedette.runtime.live.frame_reader" in loaded
    assert not {"cv2", "cryptography", "onnxruntime", "scipy", "tflite_runtime", "ai_edge_litert"} & {*loaded}
