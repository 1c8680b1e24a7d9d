"""The gate: both int8 files give the same integers, or the goal is missed and the first wrong node is named."""

from __future__ import annotations

import random
from collections import Counter

import onnx
import pytest
from fitted_designs import build_design
from products import write_goal_for

from vedette.compress.evaluation import file_parity
from vedette.compress.evaluation.file_parity import MAX_STEPS, compare_files
from vedette.compress.export.tflite import elementwise
from vedette.compress.export.tflite.operators import OPERATORS
from vedette.compress.goal.goal_tables import ModelTable
from vedette.compress.graph.qdq import read_qdq_graph
from vedette.compress.models.anomaly import ANOMALY_MODELS
from vedette.compress.models.design import MIN_PADIM_IMAGES, Design, SearchSpace
from vedette.compress.search.finalists import CHANNEL_FRACTIONS
from vedette.runtime.bundle.bundle import Bundle

SMALL = Design("padim", (4,), 64)


def draw_designs(count: int, seed: int, largest: int = 224) -> list[tuple[int, Design]]:
    """Designs from the whole space of a search, and a seed for the images of each."""
    space, rng = SearchSpace.for_goal(ModelTable(), MIN_PADIM_IMAGES), random.Random(seed)
    draws = []
    for index in range(count):
        name = list(ANOMALY_MODELS)[index % len(ANOMALY_MODELS)]
        size = rng.choice([size for size in space.input_sizes if size <= largest])
        choices = [blocks for blocks in space.blocks if name != "student" or len(blocks) > 1]
        design = space.make_design(name, rng.choice(choices), size, rng.choice(space.ranks))
        kept = rng.choice([1.0, 1.0, *CHANNEL_FRACTIONS])
        draws.append((seed * 1000 + index, Design(name, design.blocks, size, design.rank, kept)))
    return draws


DESIGNS = draw_designs(6, seed=1, largest=96)


@pytest.mark.parametrize(
    ("seed", "design"),
    [*DESIGNS[1:3], *(pytest.param(*each, marks=pytest.mark.slow) for each in DESIGNS[:1] + DESIGNS[3:])],
    ids=str,
)
def test_files_of_any_design_agree(seed, design):
    parity = compare_files(*build_design(design, seed))
    assert parity.holds, parity.reason
    assert parity.max_steps <= MAX_STEPS


def test_copied_tensors_share_the_scale_of_the_concat_behind_them():
    """The mean of 96 squares of at most 16 is a little less than 16, because 1/96 is rounded."""
    parity = compare_files(*build_design(Design("student", (4, 10), 64, 96, 1.0)))
    assert parity.holds, parity.reason


@pytest.mark.slow
def test_files_of_many_designs_agree(record_proof):
    steps, wrong = Counter[int](), []
    for seed, design in (draws := draw_designs(60, seed=2)):
        parity = compare_files(*build_design(design, seed))
        steps[parity.max_steps] += 1
        if not parity.holds:
            wrong.append(f"{design}, seed {seed}: {parity.reason}")
    record_proof(len(draws), len(wrong), designs_by_max_steps=dict(sorted(steps.items())))
    assert not wrong


@pytest.fixture
def wrong_writer(monkeypatch):
    """A TFLite writer that writes additions as subtractions."""
    monkeypatch.setitem(OPERATORS, "Add", elementwise.write_sub)


def test_first_node_that_differs_is_named(wrong_writer):
    models, images = build_design(SMALL)
    parity = compare_files(models, images)
    assert not parity.holds
    assert parity.max_steps > MAX_STEPS
    assert 0 < parity.failed <= parity.images == len(images)
    assert parity.first is not None
    assert parity.first.op_type == "Add"
    assert parity.first.name in parity.reason
    first_sum = next(node for node in read_nodes(models) if node.op_type == "Add")
    assert parity.first.name == first_sum.name  # and not a later one, where the difference is larger


def test_files_that_agree_search_for_no_node(monkeypatch):
    monkeypatch.setattr(file_parity, "find_first_difference", None)
    models, images = build_design(SMALL)
    parity = compare_files(models, images)
    assert (parity.holds, parity.failed, parity.images) == (True, 0, len(images))


@pytest.mark.slow
def test_build_with_a_wrong_file_is_not_signed_as_met(wrong_writer, anomaly_images, build_bundle, keyring, tmp_path):
    goal = write_goal_for(
        anomaly_images,
        tmp_path,
        ("min_auroc = 0.9", "min_auroc = 0.1\nmax_ms = 10000.0\nmax_bytes = 100000000"),
        ("[model]", '[model]\ndetector = "padim"'),
    )
    lines: list[str] = []
    result = build_bundle(goal, tmp_path / "out", log=lines.append)
    assert not result.verdict.met  # the command exits 1
    (missed,) = result.verdict.missed
    assert missed.startswith("parity: asked 1, found ")
    assert "(Add) is the first to differ" in missed
    assert any("(Add) is the first to differ" in line for line in lines)
    judged = {each.goal: each.met for each in result.verdict.judgements}
    assert judged == {
        "parity": False, "min_auroc": None, "max_ms": None, "max_bytes": None, "false_alarm_rate": None
    }  # fmt: skip
    manifest = Bundle.open(result.bundle, keyring).manifest
    assert not manifest.goal_met
    assert manifest.missed == (missed,)
    assert manifest.measured["parity_max_steps"] > MAX_STEPS


def read_nodes(models):
    return read_qdq_graph(onnx.ModelProto.FromString(models.files["int8_onnx"])).nodes
