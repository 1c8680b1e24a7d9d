"""Recipes: techniques, their settings, and the standard spellings that they take as well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from vedette.compress.goal.goal_reader import read_goal
from vedette.compress.goal.recipe import DistillationSettings, QuantizationSettings, load_recipe
from vedette.runtime.errors import ConfigProblem


def test_standard_spellings_are_taken() -> None:
    recipe: list[dict[str, Any]] = [{"use": "quantize", "equalize": True}, {"use": "distill", "steps": 5}]
    assert load_recipe(recipe) == {
        "quantise": QuantizationSettings(equalize=True),
        "distil": DistillationSettings(steps=5),
    }
    assert load_recipe([{"use": "quantise", "equalise": True}, {"use": "distil", "steps": 5}]) == load_recipe(recipe)


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ([{"use": "quantize"}, {"use": "quantise"}], "twice"),
        ([{"use": "quantize", "equalize": True, "equalise": True}], "one setting"),
        ([{"use": "shrink"}], "unknown 'shrink'"),
        ([{"use": 3}], "unknown 3"),
        ([{}], "unknown ''"),
        ([{"use": "prune", "keep": 0.5}], "keep"),
        ([{"use": "search", "time": "soon"}], "soon"),
    ],
    ids=str,
)
def test_wrong_recipe_is_refused_with_a_remedy(recipe: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigProblem) as problem:
        load_recipe(recipe)
    assert words in problem.value.message
    assert problem.value.hint


@pytest.mark.parametrize("name", ["quantise", "quantize"])
def test_object_detectors_accept_both_spellings(name: str, tmp_path: Path) -> None:
    for file in ("model.onnx", "labels.json"):
        (tmp_path / file).touch()
    (tmp_path / "images").mkdir()
    goal_file = tmp_path / "goal.toml"
    goal_file.write_text(
        'name = "yard"\ntask = "detect"\n[data]\nimages = "images"\nlabels = "labels.json"\n'
        f'[model]\nonnx = "model.onnx"\nfamily = "yolox"\n[[recipe]]\nuse = "{name}"\nqat_steps = 5\n'
    )
    assert load_recipe(read_goal(goal_file).recipe) == {"quantise": QuantizationSettings(qat_steps=5)}
