"""The search for a design: it ends, forgets nothing that it has paid for, and goes on where it was killed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import msgspec
import numpy as np
import optuna
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from paths import TESTS
from small_search import PI4, SMALL, gallery_of, searched

from vedette.compress.build import build
from vedette.compress.cost import operator_counts
from vedette.compress.cost.cost_limits import REFERENCE, Budget, effort, reference
from vedette.compress.cost.cost_limits import of as budget_of
from vedette.compress.goal import goal_file as goals
from vedette.compress.goal.goal_file import Model
from vedette.compress.graph.torch_export import to_onnx
from vedette.compress.models import anomaly, efficientnet_lite
from vedette.compress.models.design import BLOCKS, CUSTOMARY, INPUTS, RANKS, Design, Space
from vedette.compress.quantization.quantize import Quantise
from vedette.compress.search import finalists, selection
from vedette.compress.search import study as search
from vedette.runtime.bundle import keys
from vedette.runtime.errors import MachineProblem

SCRIPT = """\
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
import msgspec
from small_search import gallery_of, searched
found = searched(gallery_of(Path(sys.argv[1])), sys.argv[2], say=lambda text: print(text, flush=True))
print(msgspec.json.encode(found).decode())
"""


@pytest.fixture(scope="module")
def gallery(product):
    return gallery_of(product)


@pytest.fixture(scope="module")
def whole(gallery, tmp_path_factory):
    """A search that nothing interrupted."""
    return searched(gallery, search.within(tmp_path_factory.mktemp("whole")))


def test_a_small_space_is_searched_whole_and_nothing_twice(whole):
    designs = [trial.design for trial in whole]
    assert len(set(designs)) == len(designs)
    assert set(designs) == {
        SMALL.design("padim", blocks, size, rank)
        for blocks in SMALL.blocks
        for size in SMALL.inputs
        for rank in SMALL.ranks
    }
    assert all(0 <= trial.auroc <= 1 and trial.effort == effort(trial.design.cost(), PI4) for trial in whole)


def test_what_may_win_is_tried_first(whole):
    first = [trial for trial in whole if trial.design in SMALL.beginnings()]
    over = [max(trial.effort - 9e6, 0) for trial in first]
    assert over == sorted(over)
    assert whole[: len(first)] == first


def test_a_search_that_was_killed_goes_on_as_if_nothing_had_been(product, whole, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(tests=str(TESTS / "support")))
    command = [sys.executable, str(script), str(product), search.within(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for _ in range(3):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)
    again = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    assert again[-1] == msgspec.json.encode(whole).decode()
    assert len(again) - 1 <= len(whole) - 2  # what was found before the kill, but for the last, was not tried again


def test_time_that_is_up_ends_it_with_one_design_at_least(gallery, whole, tmp_path):
    assert searched(gallery, search.within(tmp_path), seconds=0) == whole[:1]


def test_no_database_is_an_error_with_a_remedy(gallery, tmp_path):
    with pytest.raises(MachineProblem, match="no study in") as caught:
        searched(gallery, f"sqlite:///{tmp_path}/missing/study.db")
    assert caught.value.hint
    with pytest.raises(MachineProblem) as caught:
        searched(gallery, "postgresql://someone:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


# Many processes


def test_a_design_is_one_trials_alone_until_that_has_failed(tmp_path):
    study, claims = search._study(search.within(tmp_path), "claims")
    one, other, third = study.ask(), study.ask(), study.ask()
    assert claims.take("a design", one)
    assert not claims.take("a design", other)
    assert claims.take("another", other)
    assert claims.under_way() == {"a design", "another"}
    study.tell(one, state=optuna.trial.TrialState.FAIL)
    study.tell(other, (0.5, 1.0, 1.0))
    assert claims.under_way() == set()
    assert claims.take("a design", third)
    assert not claims.take("another", third)
    elsewhere, others = search._study(search.within(tmp_path), "another study")
    assert others.take("a design", elsewhere.ask())


@pytest.fixture
def postgresql(tmp_path):
    """URL of a database of a PostgreSQL server of our own."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), shutil.which("initdb")]
    if os.getuid() != 0 or not found[0] or not shutil.which("runuser"):
        pytest.skip("no PostgreSQL server to start (Debian: postgresql), or not root")
    programs = Path(found[0]).parent
    folder = Path(tempfile.mkdtemp(prefix="study", dir="/tmp"))
    shutil.chown(folder, "postgres")

    def run(*command):
        subprocess.run(["runuser", "-u", "postgres", "--", *map(str, command)], check=True, capture_output=True)

    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    run(programs / "initdb", "-D", folder / "data", "--auth=trust", "--no-sync", "--locale=C", "--encoding=UTF8")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={folder} -c fsync=off"
    run(programs / "pg_ctl", "-D", folder / "data", "-w", "-l", folder / "log", "-o", options, "start")
    yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
    run(programs / "pg_ctl", "-D", folder / "data", "-m", "immediate", "stop")
    shutil.rmtree(folder)


@pytest.mark.slow
def test_three_processes_share_a_study_and_one_is_killed(product, whole, postgresql, tmp_path):
    script = tmp_path / "script.py"
    short = "import vedette.compress.search.study as s\ns.HEARTBEAT_SECONDS, s.GRACE_SECONDS = 1, 4\n"
    script.write_text(short + SCRIPT.format(tests=str(TESTS / "support")))
    command = [sys.executable, str(script), str(product), postgresql]
    victim, *others = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    first = victim.stdout.readline().strip()
    victim.send_signal(signal.SIGKILL)
    victims, _ = victim.communicate()
    told = [process.communicate(timeout=250)[0].splitlines() for process in others]
    for lines in told:  # each knows everything in the end, whoever found it
        found = msgspec.json.decode(lines[-1], type=list[selection.Trial])
        assert {trial.design: trial.auroc for trial in found} == {trial.design: trial.auroc for trial in whole}
    tried = [line for lines in told for line in lines[:-1]]
    done = [first, *victims.splitlines()][:-1]  # what it had under way last is tried again
    assert len(tried + done) == len(set(tried + done)) <= len(whole)


# The space


@given(
    st.sampled_from(tuple(CUSTOMARY)), st.sampled_from(BLOCKS), st.sampled_from(INPUTS), st.sampled_from((*RANKS, 999))
)
def test_every_point_of_the_space_is_a_design(name, blocks, size, rank):
    one = Space.of(Model(), 100).design(name, blocks, size, rank)
    assert (one.rank is None) == (name != "padim" or rank is None or rank >= anomaly.width(blocks))
    assert msgspec.convert(msgspec.to_builtins(one), Design) == one


def test_what_the_goal_file_names_is_not_varied():
    space = Space.of(Model(detector="padim", blocks=(7, 4), input=96, rank=8), 100)
    assert space == Space(("padim",), ((4, 7),), (96,), (8,))
    assert space.beginnings() == [Design("padim", (4, 7), 96, 8)]


def test_a_smaller_input_fewer_blocks_and_a_lower_rank_cost_less():
    costs = [
        Design("padim", (4, 10)),
        Design("padim", (4, 10), 224, 64),
        Design("padim", (4, 10), 160, 64),
        Design("padim", (4,), 160, 16),
    ]
    found = [effort(one.cost(), PI4) for one in costs]
    assert found == sorted(found, reverse=True)
    assert len(set(found)) == len(found)


def test_the_budget_is_what_the_goal_allows(product):
    goal = goals.read(product / "goal.toml")
    assert budget_of(goal, PI4) == Budget()
    wish = msgspec.structs.replace(goal.goal, min_speedup=4.0, max_bytes=100_000)
    asked = msgspec.structs.replace(goal, goal=wish)
    assert budget_of(asked, PI4, margin=0) == Budget(reference(PI4) / 4, 100_000)
    assert budget_of(asked, PI4).effort < reference(PI4) / 4
    unknown = msgspec.structs.replace(PI4, costs={})
    assert budget_of(asked, unknown, margin=0).effort == REFERENCE.cost().macs / 4
    assert selection.Trial.of(REFERENCE, PI4).excess(selection.ANYTHING) <= 0


def test_what_is_watched_is_what_the_graph_has_to_do():
    """The cost of a design before it is fitted, against that read from its quantised graph."""
    one = Design("padim", (2, 4), 96, 16)
    detector = one.load(efficientnet_lite.load(one.blocks))
    rng = torch.Generator().manual_seed(0)
    sizes = zip(detector.backbone.channels, detector.backbone.strides, strict=True)
    levels = [torch.rand(6, channels, 96 // stride, 96 // stride, generator=rng) for channels, stride in sizes]
    detector.fit(levels, levels, torch.zeros(1))
    images = [np.full((1, 96, 96, 3), 40 * n, np.uint8) for n in range(1, 6)]
    model = Quantise()(to_onnx(detector, 96), images, efficientnet_lite.input_of(96), detector.bounded_outputs)
    cost = one.cost()
    assert cost.macs == operator_counts.macs(model)
    for name in ("onnx", "tflite"):
        counted = PI4.predict(name, operator_counts.of(model, name)).instructions
        assert PI4.predict(name, operator_counts.of_backend(cost.works, name)).instructions == pytest.approx(
            counted, rel=0.02
        )
    assert cost.bytes == pytest.approx(len(model.SerializeToString()), rel=0.35)


# The command


def goal_for(product, folder, *changes):
    """A goal file in `folder` for the product's images."""
    text = (product / "goal.toml").read_text()
    pictures = (('"good"', f'"{product}/good"'), ('"defect"', f'"{product}/defect"'))
    for old, new in (*pictures, *changes):
        assert old in text
        text = text.replace(old, new, 1)
    (folder / "goal.toml").write_text(text)
    return folder / "goal.toml"


@pytest.mark.parametrize(("may_lose", "steps"), [(-1.0, ["ranges, minmax", "bias correction"]), (1.0, [])])
def test_integers_that_cost_too_much_are_made_with_care(product, key_folder, tmp_path, monkeypatch, may_lose, steps):
    """Care is taken where they lose more than they may, and only there; what was built with it is kept apart."""
    monkeypatch.setattr(finalists, "KEPT", ())
    monkeypatch.setattr(finalists, "CARE", ({"bias_correction": True},))
    monkeypatch.setattr(finalists, "DROP", may_lose)
    told = []
    goal = goal_for(product, tmp_path, ("[model]", '[model]\ndetector = "padim"'))
    key = keys.read_private(key_folder / "vedette.key")
    built = build(goal, tmp_path / "out", key, say=told.append, seconds=60.0)
    assert any("once more with bias_correction" in each for each in told) == (may_lose < 0)
    assert len(list((tmp_path / "out" / "weave.work").glob("*.final"))) == selection.FINALISTS + (may_lose < 0)
    made = json.loads((tmp_path / "out" / "weave.json").read_text())
    figures = [each["auroc"] for each in made["finals"]]
    if figures[-1] >= figures[0]:
        assert [each["name"] for each in made["steps"]] == steps
    assert built.manifest.measured["auroc_int8_onnx"] > 0.9


def test_a_search_can_stand_in_the_recipe(product, key_folder, tmp_path):
    recipe = '[[recipe]]\nuse = "search"\ntime = "1s"\n[model]\ndetector = "padim"'
    goal = goal_for(product, tmp_path, ("[model]", recipe))
    built = build(goal, tmp_path / "out", keys.read_private(key_folder / "vedette.key"))
    assert built.manifest.measured["trials"]
    assert built.manifest.measured["finals"]


FITTER = """\
import hashlib, sys, time
from pathlib import Path
import msgspec
from vedette import devices
from vedette.compress import goal, search
from vedette.compress.cost.cost_limits import Budget
from vedette.compress.search.study import Effort
from vedette.compress.tasks.anomaly import Anomaly
file, folder = map(Path, sys.argv[1:])
pi4, now = devices.load("pi4"), time.monotonic()
task = Anomaly(goal.read(file), pi4)
say, track = lambda text: print(text, flush=True), lambda items, _: items
effort = Effort(now, now + 3600, search.within(folder), folder, pi4, Budget())
models = task.fit(task.divide(file.parent, track, say), effort, folder, track, say)
found = (models.float_model, models.int8_model)
print(*(hashlib.sha256(each.SerializeToString(deterministic=True)).hexdigest() for each in found))
print(msgspec.json.encode(task.finals).decode())
"""


@pytest.mark.slow
def test_a_leader_that_was_built_before_a_kill_is_not_built_again(product, tmp_path):
    recipe = '[[recipe]]\nuse = "prune"\n[[recipe]]\nuse = "distil"\nsteps = 10\n[model]\ndetector = "padim"\n'
    goal = goal_for(product, tmp_path, ("[model]\n", recipe))
    (tmp_path / "script.py").write_text(FITTER)

    def command(folder):
        return [sys.executable, str(tmp_path / "script.py"), str(goal), str(folder)]

    with subprocess.Popen(command(tmp_path / "killed"), stdout=subprocess.PIPE, text=True) as process:
        while "int8 AUROC" not in (line := process.stdout.readline()):
            assert line
        process.send_signal(signal.SIGKILL)
    kept = {path: path.stat().st_mtime_ns for path in (tmp_path / "killed").glob("*.final")}
    assert kept
    whole, again = (
        subprocess.run(command(tmp_path / name), check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()
        for name in ("whole", "killed")
    )
    assert whole[-2:] == again[-2:]
    assert len(msgspec.json.decode(whole[-1])) == 2
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_cannot_be_searched_leaves_nothing(vedette, product, tmp_path):
    classes = (
        ('task = "anomaly"', 'task = "classify"'),
        ("blocks = [2, 4]", ""),
        ("min_auroc = 0.9\nfalse_alarm_rate = 0.1", ""),
    )
    for name, changes, said in (("few", (), "no images"), ("classify", classes, "searched for")):
        folder = tmp_path / name
        folder.mkdir()
        goal = goal_for(product, folder, *changes)
        if name == "few":
            (folder / "good").mkdir()
            goal.write_text(goal.read_text().replace(f'"{product}/good"', '"good"'))
        result = vedette("build", goal, "--out", folder / "out", "--time", "1m", HOME=str(tmp_path))
        assert result.returncode == 2, result.stderr
        assert said in result.stderr
        assert not (folder / "out").exists()


def test_a_build_with_time_searches_and_shows_what_it_found(vedette, product, tmp_path):
    goal = goal_for(
        product,
        tmp_path,
        ("input = 96\nblocks = [2, 4]", ""),
        ("[goal]\n", "[goal]\nmin_speedup = 1000.0\n"),
        ("[model]", '[model]\ndetector = "padim"'),
    )
    result = vedette("build", goal, "--out", tmp_path / "out", "--time", "25s", "--json", HOME=str(tmp_path))
    assert result.returncode == 1, result.stderr  # a thousandth of the time: nothing does
    report = json.loads((tmp_path / "out" / "weave.json").read_text())
    assert report["trials"]
    assert report["finals"]
    assert report["input"] < 224
    assert "min_speedup" in report["missed"][0]
    page = (tmp_path / "out" / "weave.html").read_text()
    assert page.count("<circle") == len(report["trials"])
