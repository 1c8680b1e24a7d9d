"""The store: a release is there whole or not at all, whenever the power fails, and the way back stays open."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vedette.runtime.errors import ConfigProblem, Problem
from vedette.runtime.installation.model_store import ModelStore

CONTENT = {1: b"first", 2: b"second", 3: b"third"}


class PowerCut(Exception):
    pass


@pytest.fixture
def store(tmp_path):
    return ModelStore(tmp_path)


def install(store, release):
    store.add("cells", release, CONTENT[release])
    store.switch("cells", release)


def running(store):
    return store.bundle_path("cells").read_bytes()


def test_the_newest_release_is_current_and_two_are_kept(store):
    for release in (1, 2, 3):
        install(store, release)
    model = store.find_model("cells")
    assert (model.current, model.previous, model.releases) == (3, 2, (2, 3))
    assert running(store) == b"third"


def test_a_rollback_takes_the_release_before_once(store):
    install(store, 1)
    install(store, 2)
    assert store.roll_back("cells") == (2, 1)
    assert running(store) == b"first"
    with pytest.raises(ConfigProblem, match="no release before it"):
        store.roll_back("cells")
    install(store, 2)
    assert running(store) == b"second"


def test_a_release_keeps_its_content(store):
    install(store, 1)
    with pytest.raises(ConfigProblem, match="another content"):
        store.add("cells", 1, b"other")
    install(store, 1)
    assert running(store) == b"first"


def test_what_is_not_installed_is_named(store):
    install(store, 1)
    with pytest.raises(ConfigProblem, match="bolts is not installed") as error:
        store.roll_back("bolts")
    assert "cells" in error.value.hint


@pytest.fixture
def cut_power(monkeypatch):
    """Raises PowerCut in place of the call number `after` that changes the disk, or syncs it; counts the calls."""
    calls = [0]

    def arm(after):
        calls[0] = 0

        def wrap(real):
            def call(*args, **kwargs):
                calls[0] += 1
                if after is not None and calls[0] > after:
                    raise PowerCut
                return real(*args, **kwargs)

            return call

        for name in ("rename", "replace", "symlink", "unlink", "mkdir", "rmdir", "fsync"):
            monkeypatch.setattr(os, name, wrap(real[name]))
        for name in ("rename", "replace", "symlink_to", "unlink", "mkdir"):
            monkeypatch.setattr(Path, name, wrap(real_paths[name]))
        return calls

    real = {name: getattr(os, name) for name in ("rename", "replace", "symlink", "unlink", "mkdir", "rmdir", "fsync")}
    real_paths = {name: getattr(Path, name) for name in ("rename", "replace", "symlink_to", "unlink", "mkdir")}
    yield arm
    monkeypatch.undo()


@pytest.mark.parametrize("step", ["install", "roll_back"])
def test_a_power_cut_at_any_step_leaves_the_old_or_the_new_release(tmp_path, cut_power, step):
    after = 0
    while True:
        store = ModelStore(tmp_path / str(after))
        cut_power(None)
        install(store, 1)
        install(store, 2)
        cut_power(after)
        try:
            install(store, 3) if step == "install" else store.roll_back("cells")
            finished = True
        except PowerCut:
            finished = False
        cut_power(None)
        new = b"third" if step == "install" else b"first"
        assert running(store) == new if finished else running(store) in (b"second", new)
        install(store, 3)
        assert running(store) == b"third"
        try:
            store.roll_back("cells")
        except Problem:
            assert step == "roll_back"
        if finished:
            break
        after += 1
    assert after >= 4
