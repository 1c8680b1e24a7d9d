"""A seed survives being written and read, and a wrong one is refused by name."""

from __future__ import annotations

import pytest

from vedette.deploy.seed import Seed, SeedBroker, SeedCamera, SeedDevice, read_seed, render_seed
from vedette.runtime.errors import ConfigProblem


def test_a_written_seed_reads_the_same(tmp_path):
    camera = SeedCamera(name="door", source="v4l2:/dev/video0", bundle="a.vedette", rules=({"use": "presence"},))
    broker = SeedBroker(url="mqtts://b:8883", password='a"b\\c#', key="-----BEGIN\nX\n")
    seed = Seed(instance="i-7", device=SeedDevice(name="box7"), broker=broker, cameras=(camera,), keys={"a.pub": "x\n"})
    path = tmp_path / "vedette.seed"
    path.write_text(render_seed(seed))
    assert read_seed(path) == seed


@pytest.mark.parametrize(
    ("text", "part"),
    [("[device]\nnam = 'a'", "nam"), ("[device]\nname = 'a/b'", "name"), ("format = 2\n[device]\nname='a'", "format")],
)
def test_a_wrong_seed_is_refused_by_key(tmp_path, text, part):
    path = tmp_path / "vedette.seed"
    path.write_text(text)
    with pytest.raises(ConfigProblem, match=part):
        read_seed(path)
