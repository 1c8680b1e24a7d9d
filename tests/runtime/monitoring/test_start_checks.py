"""What a daemon does before it starts: it tells of secrets that are not kept well, and writes for its user alone."""

from __future__ import annotations

import logging
import os

from vedette.runtime.monitoring.start_checks import start_camera


def test_files_of_a_daemon_are_its_user_s_and_open_secrets_are_told(tmp_path, caplog):
    (tmp_path / "cameras").mkdir()
    secret = tmp_path / "password"
    secret.write_text("x")
    secret.chmod(0o644)
    (tmp_path / "vedette.toml").write_text(
        f"[device]\nname = 'start-{os.getpid()}'\n[broker]\nurl = 'mqtt://broker.example:1883'\n"
        "username = 'u'\npassword_file = 'password'\n"
    )
    (tmp_path / "cameras" / "door.toml").write_text("source = 'file:x'\nbundle = 'x'\n[[rules]]\nuse = 'presence'\n")
    before = os.umask(0o022)
    try:
        with caplog.at_level(logging.WARNING, "vedette"), start_camera(tmp_path, "door"):
            (tmp_path / "inside").write_text("x")
            (tmp_path / "folder").mkdir()
        (tmp_path / "outside").write_text("x")
    finally:
        os.umask(before)
    modes = [(tmp_path / name).stat().st_mode & 0o777 for name in ("inside", "folder", "outside")]
    assert modes == [0o600, 0o700, 0o644]
    assert "crosses the network to broker.example in clear" in caplog.text
    assert "can be read by every user" in caplog.text
