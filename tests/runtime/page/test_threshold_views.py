"""The view Threshold of a line: each product has its own scores, threshold and file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from page_client import PageClient, make_app
from page_site import PRODUCTS, PageSite


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
    assert "[[products]] of the camera" in right
    assert 'id="change-show"' not in right, "nothing to save"
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
    assert "[trigger] of the camera" in shown
