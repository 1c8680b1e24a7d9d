"""The lock files name every package that pyproject.toml asks for, in a version that it allows, each with digests."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from paths import ROOT

with (ROOT / "pyproject.toml").open("rb") as project:
    PROJECT = tomllib.load(project)["project"]
FILES = {"device.txt": (), "box.txt": ("discovery", "page"), "demo.txt": ("demo",), "dev.txt": ("dev",)}
APART = {"torch"}
"""Locked in a file of its own."""


def locked(name: str) -> dict[str, set[str]]:
    """Versions by package; several where they depend on the Python."""
    versions: dict[str, set[str]] = {}
    text = (ROOT / "requirements" / name).read_text()
    for package, version in re.findall(r"^([\w.-]+)==([\w.]+)", text, re.MULTILINE):
        versions.setdefault(canonicalize_name(package), set()).add(version)
    return versions


def asked(extras: tuple[str, ...]) -> list[Requirement]:
    """What pyproject.toml asks for, with the extras that an extra contains."""
    found = [Requirement(each) for each in PROJECT["dependencies"]]
    waiting = list(extras)
    while waiting:
        for each in map(Requirement, PROJECT["optional-dependencies"][waiting.pop()]):
            if each.name == "vedette":
                waiting += each.extras
            else:
                found.append(each)
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_package_is_locked_in_an_allowed_version(name):
    versions = locked(name)
    for each in asked(FILES[name]):
        package = canonicalize_name(each.name)
        if package not in APART:
            assert versions.get(package), f"{package} is not in {name}: run requirements/lock"
            assert all(each.specifier.contains(version) for version in versions[package]), f"{each} in {name}"


def test_pytorch_has_one_version_everywhere():
    (version,) = locked("torch.txt")["torch"]
    assert f'"torch=={version}"' in (ROOT / "pyproject.toml").read_text()
    assert set(re.findall(r"(?<![\w-])torch==([\d.]+)", (ROOT / "Makefile").read_text())) == {version}


@pytest.mark.parametrize("name", [*FILES, "torch.txt", "cuda.txt"])
def test_every_locked_package_has_digests(name):
    text = (ROOT / "requirements" / name).read_text()
    entries = re.split(r"^(?=[\w.-]+==)", text, flags=re.MULTILINE)[1:]
    assert entries
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", each) for each in entries)


def test_a_device_needs_no_package_of_the_workshop():
    assert not {"torch", "onnx", "jinja2", "scipy", "scikit-learn"} & set(locked("device.txt"))
