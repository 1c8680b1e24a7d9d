"""The view Threshold of a line: each product has its own scores, threshold and file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from page_client import PageClient, make_app
from page_site import PRODUCTS, PageSite


def post(client: PageClient, target: str, content: dict[str, Any]) -> Any:
    return json.loads(client.post(target, content).body)


@pytest.fixture
def site(tmp_path: Path) -> PageSite:
    site = PageSite(tmp_path / "configuration", events=0, cameras=("belt",))
    (site.folder / "cameras" / "belt.toml").write_text(PRODUCTS)
    return site


def test_each_product_has_its_own_scores_and_threshold(site: PageSite) -> None:
    site.store_scores("belt", 1.0)
    site.store_scores("belt", 2.0, below="products/2")
    client = PageClient(make_app(site.folder))
    first, left, right = (client.get(f"/threshold/belt{query}").text for query in ("", "?product=7", "?product=2"))
    assert first == left
    assert 'data-now="0.6"' in left, "that of the bundle, and not of the rule"
    assert 'data-now="0.7"' in right, "that of the table [[products]]"
    assert "about the last day: 720" in left
    assert "about the last day: 1440" in right
    assert "This is the threshold of one product." in right
    assert 'id="change-show"' in right
    told = json.loads(client.get("/threshold/belt/replay?value=0.7&product=2").body)
    assert told["alarms"] == "8.3 of 1,000 parts"
    assert told["note"].startswith("12 of 1440 parts that were kept")
    for wrong in ("9", "x", "-1"):
        assert client.get(f"/threshold/belt?product={wrong}").status == 404
        assert client.get(f"/threshold/belt/replay?value=0.7&product={wrong}").status == 404


def test_one_product_has_no_choice_and_the_threshold_of_its_trigger(site: PageSite) -> None:
    line = 'source = "file:parts"\nbundle = "installed:cells"\n[trigger]\nsource = "mqtt:"\nthreshold = 0.65\n'
    (site.folder / "cameras" / "belt.toml").write_text(line)
    site.store_scores("belt", 1.0)
    shown = PageClient(make_app(site.folder)).get("/threshold/belt").text
    assert "?product=" not in shown
    assert 'data-now="0.65"' in shown
    assert "This is the threshold of the parts." in shown


@pytest.mark.parametrize(
    ("query", "table", "told"),
    [
        ("?product=7", 'bundle = "installed:left"\n', "threshold of the product left door: the model's own → 0.8"),
        ("?product=2", "threshold = 0.7\n", "threshold of the product right door: 0.7 → 0.8"),
    ],
)
def test_the_threshold_of_a_product_is_saved_in_its_table(site: PageSite, query: str, table: str, told: str) -> None:
    client = PageClient(make_app(site.folder))
    shown = post(client, f"/threshold/belt/change{query}", {"threshold": 0.8, "save": False})
    assert shown["changes"] == [told]
    post(client, f"/threshold/belt/change{query}", {"threshold": 0.8, "save": True, "before": shown["before"]})
    [asked] = (site.folder / "state" / "configuration" / "requests").glob("*.toml")
    new = table if "threshold" not in table else ""
    assert asked.read_text() == PRODUCTS.replace(table, f"{new}threshold = 0.8\n")


def test_the_threshold_of_the_parts_is_saved_in_the_trigger(site: PageSite) -> None:
    line = 'source = "file:parts"\nbundle = "installed:cells"\n[trigger]\nsource = "mqtt:"\nwarn = 0.5\n'
    (site.folder / "cameras" / "belt.toml").write_text(line)
    client = PageClient(make_app(site.folder))
    shown = post(client, "/threshold/belt/change?product=", {"threshold": 0.65, "save": False})
    assert shown["changes"] == ["threshold of the parts: the model's own → 0.65"]
    assert [row["text"] for row in shown["diff"] if row["sign"] == "+"] == ["threshold = 0.65"]
    refused = post(client, "/threshold/belt/change?product=", {"threshold": 0.5, "save": False})
    assert "must be below threshold" in refused["problem"]
