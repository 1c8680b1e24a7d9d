"""The house keeps its walls: imports run one way, every package ships, a module has one identity."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile

import pytest
from paths import ROOT

FOLDERS = ("devices", "runtime", "compress")
ALLOWED = {"devices": {"devices"}, "runtime": {"devices", "runtime"}, "compress": set(FOLDERS)}
MODULES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def imported(path):
    """The folders that a module imports, wherever in it the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            depth = len(path.relative_to(ROOT).parts) - 1
            assert node.level <= depth, f"{path} climbs out of its folder"
        found |= {name.split(".")[1] for name in names if name.startswith("vedette.")}
        found |= {name.split(".")[0] for name in names if name.split(".")[0] in FOLDERS}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_one_way(path):
    folder = path.relative_to(ROOT).parts[0]
    assert imported(path) <= ALLOWED[folder] - {folder}, "inside a folder imports are relative, across them one way"


def test_every_package_is_listed():
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    there = {
        "vedette." + ".".join(path.parent.relative_to(ROOT).parts) for path in MODULES if path.name == "__init__.py"
    }
    assert listed == there


def test_the_wheel_holds_everything(tmp_path):
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"vedette/{path.relative_to(ROOT).as_posix()}" for path in MODULES}
    wanted |= {f"vedette/devices/profiles/{path.name}" for path in (ROOT / "devices" / "profiles").iterdir()}
    wanted |= {f"vedette/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "compress").rglob("*.html")}
    wanted |= {f"vedette/{folder}/py.typed" for folder in FOLDERS}
    assert wanted <= names
    assert not any(name.split("/")[0] in FOLDERS for name in names)


def test_the_device_needs_no_torch():
    """Everything that the daemon imports loads where the workshop's libraries are missing."""
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'jinja2', 'flatbuffers', 'iotcore'): sys.modules[name] = None\n"
        "import vedette.runtime.daemon, vedette.runtime.evaluation.verify, vedette.runtime.monitoring.self_check\n"
        "import vedette.runtime.inference.backends.onnx, vedette.runtime.inference.backends.tflite\n"
        "import vedette.runtime.events.sinks.mqtt\n"
        "print(sorted(n for n in sys.modules if n.startswith('vedette.compress')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_a_module_has_one_identity():
    code = (
        "import sys, vedette.runtime.cli; print([n for n in sys.modules if n.split('.')[0] in ('runtime', 'devices')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    assert done.stdout == "[]\n", done.stderr


def test_files_stay_readable():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
