"""A line's only product, without a model: scores of 1 and above are rejected."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from vedette.runtime.config.configuration import Config
from vedette.runtime.line.judgement import Judge
from vedette.runtime.line.line_products import LineProduct


def one_product(settings: Config) -> Any:
    """The choice of products that a part gate takes."""
    assert settings.trigger is not None
    manifest: Any = SimpleNamespace(name="x", release=1, normal=("good",), decision_threshold=1.0, motion=None)
    products = [LineProduct(0, "x", "1", Judge(settings.trigger, manifest))]
    return SimpleNamespace(products=products, select=lambda _index: None)
