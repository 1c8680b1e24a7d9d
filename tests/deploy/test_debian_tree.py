"""What goes into a Debian package, without building one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from paths import ROOT

from vedette.deploy.debian.control import maintainer, python_dependencies
from vedette.deploy.debian.manual import COMPLETIONS, completion, manual_page
from vedette.deploy.debian.packages import FLAVORS, plan_packages
from vedette.deploy.debian.tree import is_unused, lay_out, site_packages
from vedette.deploy.debian.wheels import Target, select_locked
from vedette.runtime.cli import DEPLOY_COMMANDS, DEVICE_COMMANDS

LOCK = (ROOT / "requirements" / "box.txt").read_text()


@pytest.mark.parametrize(("python", "numpy"), [("3.11", "2.4.6"), ("3.13", "2.5.5")])
def test_a_lock_file_is_read_for_the_target_and_not_for_this_python(python: str, numpy: str) -> None:
    selected = select_locked(LOCK, Target("arm64", python), frozenset({"tqdm"}))
    assert f"numpy=={numpy} \\\n    --hash=" in selected
    assert selected.count("numpy==") == 1
    assert "ai-edge-litert==" in selected
    assert "colorama" not in selected  # of Windows
    assert "tqdm" not in selected
    assert " ; " not in selected


def test_a_package_depends_on_just_the_pythons_that_it_holds() -> None:
    assert python_dependencies(("3.11", "3.13")) == [
        "python3 (>= 3.11~)",
        "python3 (<< 3.12~) | python3 (>= 3.13~)",
        "python3 (<< 3.14~)",
    ]
    assert python_dependencies(("3.13",)) == ["python3 (>= 3.13~)", "python3 (<< 3.14~)"]


def test_files_are_named_by_version_and_architecture() -> None:
    version = plan_packages(FLAVORS["full"], ("amd64",), 0)[0].version
    names = [each.file_name for each in plan_packages(FLAVORS["full"], ("amd64", "arm64"), 0)]
    assert names == [f"vedette_{version}_amd64.deb", f"vedette_{version}_arm64.deb"]
    slim = [each.file_name for each in plan_packages(FLAVORS["slim"], ("arm64",), 0)]
    assert slim == [f"vedette-slim_{version}+deb12_arm64.deb", f"vedette-slim_{version}+deb13_arm64.deb"]


def test_what_no_device_uses_is_left_out_and_modules_are_not() -> None:
    assert is_unused("numpy/_core/tests/test_umath.py")
    assert is_unused("bin/f2py")
    assert is_unused("onnxruntime/capi/libonnxruntime.so.1.32.0")
    assert not is_unused("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311-x86_64-linux-gnu.so")
    assert is_unused("PIL/_avif.cpython-311-aarch64-linux-gnu.so")
    assert is_unused("pillow.libs/libwebpmux-8fb1c9f6.so.3.1.2")
    assert not is_unused("PIL/_imaging.cpython-311-aarch64-linux-gnu.so")
    assert not is_unused("pillow.libs/libjpeg-6dc8d115.so.62.4.0")
    assert not is_unused("numpy/testing/__init__.py")
    assert not is_unused("vedette/runtime/daemon.py")
    assert not is_unused("vedette/devices/profiles/pi5.toml")
    assert not is_unused("vedette-0.1.0.dist-info/entry_points.txt")


def unpacked(folder: Path, packages: dict[str, dict[str, str]]) -> Path:
    """Packages as pip unpacks them: name to files."""
    for name, files in packages.items():
        record = folder / f"{name}-1.dist-info" / "RECORD"
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        record.parent.mkdir()
        record.write_text("".join(f"{path},,\n" for path in [*files, "../../bin/tool"]))
    return folder


def test_equal_packages_are_shared_and_large_equal_files_are_links(tmp_path: Path) -> None:
    large = "x" * 100_000
    pure = {"pure/__init__.py": "1", "pure/data.bin": large}
    one = unpacked(tmp_path / "one", {"pure": pure, "mixed": {"mixed/a.cpython-311.so": "a", "mixed/data.bin": large}})
    two = unpacked(tmp_path / "two", {"pure": pure, "mixed": {"mixed/a.cpython-313.so": "b", "mixed/data.bin": large}})
    lay_out({"3.11": [one], "3.13": [two]}, tmp_path / "out")
    shared = tmp_path / "out" / "lib" / "shared"
    first, second = (site_packages(tmp_path / "out", python) for python in ("3.11", "3.13"))
    assert sorted(path.name for path in shared.iterdir()) == ["pure"]
    assert (first / "mixed" / "a.cpython-311.so").read_text() == "a"
    assert (second / "mixed" / "a.cpython-313.so").read_text() == "b"
    assert not (first / "mixed" / "data.bin").is_symlink()
    assert (second / "mixed" / "data.bin").is_symlink()
    assert (second / "mixed" / "data.bin").read_text() == large
    assert (second / (second / "shared.pth").read_text().strip()).resolve() == shared


def test_the_manual_page_has_every_command_and_option_of_a_device() -> None:
    page = manual_page("1.2", "2026-01-31", "vedette").replace("\\-", "-")
    assert '.TH VEDETTE 1 "2026-01-31" "Vedette 1.2"' in page
    assert all(f".SS vedette {name} " in page for name in [*DEVICE_COMMANDS, *DEPLOY_COMMANDS])
    assert ".SS vedette keys trust " in page
    assert ".B --data PATH" in page
    assert "\\n" not in page


@pytest.mark.parametrize("path", COMPLETIONS)
def test_completions_ask_the_command(path: str) -> None:
    assert "_VEDETTE_COMPLETE=" in completion(path)


@pytest.mark.parametrize("name", ["postinst", "prerm", "postrm", "vedette.rtupdate"])
def test_maintainer_scripts_are_valid_shell(name: str) -> None:
    subprocess.run(["sh", "-n", str(ROOT / "deploy" / "debian" / "templates" / name)], check=True)


def test_who_builds_the_packages_is_their_maintainer(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DEBFULLNAME", "DEBEMAIL"):
        monkeypatch.delenv(name, raising=False)
    assert maintainer().endswith(".invalid>"), "nobody's address"
    monkeypatch.setenv("DEBFULLNAME", "Plant tools")
    monkeypatch.setenv("DEBEMAIL", "tools@plant.example")
    assert maintainer() == "Plant tools <tools@plant.example>"
