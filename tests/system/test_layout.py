"""The layout holds: imports between packages run one way, every package ships, a module has one identity."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import ROOT

# A package imports itself and what stands to its left: in its own folder, and whole folders to the left of that.
# docs/architecture.md draws it.
PACKAGES = {
    "devices": ("cost_model", "profile", "host", "catalog"),
    "runtime": (
        "errors",
        "distribution",
        "process_limits",
        "redaction",
        "plugin_tables",
        "clock",
        "atomic_file",
        "backoff",
        "progress",
        "socket_access",
        "config",
        "calibration",
        "statistics",
        "bundle",
        "inference",
        "camera",
        "tracking",
        "events",
        "evidence",
        "rules",
        "line",
        "installation",
        "monitoring",
        "integrations",
        "live",
        "daemon",
        "camera_processes",
        "evaluation",
        "reports",
        "page",
        "commands",
        "cli",
    ),
    "deploy": (
        "seed",
        "broker_client",
        "provisioning",
        "setup",
        "fleet",
        "feedback",
        "sparkplug",
        "commands",
    ),
    "compress": (
        "goal",
        "models",
        "data",
        "graph",
        "quantization",
        "training",
        "export",
        "evaluation",
        "cost",
        "review",
        "search",
        "report",
        "tasks",
        "shared_steps",
        "build",
        "search_worker",
        "device_builds",
        "demo",
        "studio",
        "commands",
    ),
}
FOLDERS = tuple(PACKAGES)
TOOLS = ("deploy/debian",)  # they make packages of this project, and are part of none
MODULES = sorted(
    path
    for folder in FOLDERS
    for path in (ROOT / folder).rglob("*.py")
    if path.parent.relative_to(ROOT).as_posix() not in TOOLS
)
LARGEST_PACKAGE = 0.2  # of the lines of its folder


def package_of(path: Path) -> tuple[str, ...]:
    return path.relative_to(ROOT).parent.parts


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def name_of(path: Path) -> tuple[str, ...]:
    """The module's name, in parts: ("runtime", "rules", "zone")."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return parts[:-1] if parts[-1] == "__init__" else parts


NAMES = {name_of(path) for path in MODULES}


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """The modules of ours that a module imports, wherever in it the import is, in parts."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (tuple(alias.name.split(".")[1:]) for alias in node.names if alias.name.startswith("vedette."))
        elif isinstance(node, ast.ImportFrom):
            module = tuple(node.module.split(".")) if node.module else ()
            if node.level:
                package = package_of(path)
                assert node.level <= len(package), f"{path} climbs out of its folder"
                base = (*package[: len(package) - node.level + 1], *module)
            elif module[:1] == ("vedette",):
                base = module[1:]
            else:
                continue
            for alias in node.names:
                whole = (*base, alias.name)
                yield whole if whole in NAMES else base


def package_name(name: tuple[str, ...]) -> str | None:
    """The package of a module; None: the folder's own `__init__`."""
    return name[1] if len(name) > 1 else None


def may_import(name: tuple[str, ...], target: tuple[str, ...]) -> bool:
    """Whether the tables allow the module `name` to import the module `target`."""
    folder, package, target_package = name[0], package_name(name), package_name(target)
    if target[0] != folder:
        return FOLDERS.index(target[0]) < FOLDERS.index(folder)
    if package is None or target_package is None or target_package == package:
        return True
    return PACKAGES[folder].index(target_package) < PACKAGES[folder].index(package)


def test_imports_between_packages_run_one_way() -> None:
    assert not [
        f"{relative(path)} may not import {'.'.join(target)}"
        for path in MODULES
        for target in imports(path)
        if not may_import(name_of(path), target)
    ]


def test_imports_inside_a_folder_are_relative() -> None:
    """A folder is devices, runtime, deploy or compress; `imports` checks that a relative import does not leave it."""
    offenders = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            own = f"vedette.{name_of(path)[0]}"
            offenders += [f"{relative(path)}: {name}" for name in names if f"{name}.".startswith(f"{own}.")]
    assert not offenders


def test_modules_form_no_cycle() -> None:
    """By name: imports inside functions and behind `TYPE_CHECKING` count."""
    graph = {name_of(path): {name for name in imports(path) if name in NAMES} - {name_of(path)} for path in MODULES}
    for name, targets in graph.items():  # a package and its own modules are one step: the package is loaded first
        graph[name] = {target for target in targets if name[: len(target)] != target}
    while leaves := [name for name, targets in graph.items() if not targets & graph.keys()]:
        for name in leaves:
            del graph[name]
    assert not graph, f"cycle among {sorted('.'.join(name) for name in graph)}"


def test_no_type_checking_imports() -> None:
    assert not [relative(path) for path in MODULES if "TYPE_CHECKING" in path.read_text()]


@pytest.mark.parametrize("folder", ["runtime", "compress"])
def test_no_package_exceeds_its_share_of_lines(folder: str) -> None:
    lines = Counter[str]()
    for path in MODULES:
        name = name_of(path)
        if name[0] == folder:
            lines[package_name(name) or ""] += len(path.read_text().splitlines())
    assert max(lines.values()) <= LARGEST_PACKAGE * sum(lines.values()), lines.most_common(2)


def test_every_package_is_in_the_table() -> None:
    for folder, packages in PACKAGES.items():
        there = {package_name(name) for name in NAMES if name[0] == folder} - {None}
        assert there == set(packages)


def test_every_package_is_listed() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        listed = set(tomllib.load(file)["tool"]["setuptools"]["packages"])
    there = {"vedette." + ".".join(package_of(path)) for path in MODULES if path.name == "__init__.py"}
    assert listed == there


def test_wheel_contains_all_modules_and_data(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"vedette/{relative(path)}" for path in MODULES}
    wanted |= {f"vedette/devices/profiles/{path.name}" for path in (ROOT / "devices" / "profiles").iterdir()}
    wanted |= {f"vedette/{relative(path)}" for path in (ROOT / "compress").rglob("*.html")}
    wanted |= {f"vedette/{folder}/py.typed" for folder in FOLDERS}
    assert wanted <= names
    data = {name.partition(".data/data/share/")[2] for name in names}
    assert {f"vedette/{path.name}" for path in (ROOT / "deploy").glob("vedette*.*")} <= data
    assert {"vedette/vedette.sysusers", "vedette/vedette.tmpfiles", "doc/vedette/README.md"} <= data
    assert {f"doc/vedette/docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} <= data
    assert not any(name.split("/")[0] in FOLDERS for name in names)


def test_device_code_imports_no_workshop_library() -> None:
    """Everything that the daemon imports loads where torch and its like are missing."""
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'jinja2', 'flatbuffers', 'iotcore'): sys.modules[name] = None\n"
        "import vedette.runtime.daemon, vedette.runtime.evaluation.bundle_verification\n"
        "import vedette.runtime.monitoring.doctor_checks, vedette.runtime.events.sinks.mqtt\n"
        "import vedette.runtime.inference.backends.onnx, vedette.runtime.inference.backends.tflite\n"
        "print(sorted(n for n in sys.modules if n.startswith('vedette.compress')))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "[]\n", done.stderr


def test_modules_are_imported_only_as_vedette() -> None:
    code = (
        "import sys, vedette.runtime.cli; print([n for n in sys.modules if n.split('.')[0] in ('runtime', 'devices')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT / "tests")
    assert done.stdout == "[]\n", done.stderr


def test_modules_have_at_most_250_lines() -> None:
    modules = [*MODULES, *(path for folder in TOOLS for path in (ROOT / folder).glob("*.py"))]
    lengths = {relative(path): len(path.read_text().splitlines()) for path in modules}
    assert {name: length for name, length in lengths.items() if length > 250} == {}
