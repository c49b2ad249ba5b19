"""The model repository, written by this perfgate or by the one in another source tree."""

import shutil

import pytest

from perfgate.errors import ServerError
from perfgate.model import Engine, ServingSpec, Target
from perfgate.serving.render import Order, render
from tests.unit.factories import a_point
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit


def an_order(root):
    """A simulated engine's repository below `root`."""
    engine = Engine(spec=a_point().engine, target=Target.SIM, directory=root / "engine", digest="0")
    serving = ServingSpec(kv_cache_tokens=4096)
    return Order(root=root, engine=engine, serving=serving, tokenizer_dir=root / "tokenizer")


@pytest.fixture
def another(tmp_path):
    """A copy of perfgate's sources whose templates ask for statistics twice as often."""
    sources = tmp_path / "other" / "src"
    shutil.copytree(ROOT / "src" / "perfgate", sources / "perfgate")
    template = sources / "perfgate" / "serving" / "repository.py"
    text = template.read_text()
    template.write_text(text.replace("_PERIOD_MS = 100", "_PERIOD_MS = 50"))
    return sources


def period(repository):
    """How often the engine's statistics are read, as its configuration says."""
    config = (repository / "tensorrt_llm" / "config.pbtxt").read_text()
    return config.partition('"stats_check_period_ms"')[2].split('"')[1]


def test_the_templates_of_another_source_tree_are_its_own(tmp_path, another):
    """Each perfgate writes its own repository, the other one's in a process of its own."""
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    ours.mkdir()
    theirs.mkdir()

    assert period(render(an_order(ours))) == "100"
    assert period(render(an_order(theirs), another)) == "50"


def test_a_tree_that_cannot_write_it_says_why(tmp_path, another):
    """The last line that it said is told, with the tree."""
    (another / "perfgate" / "serving" / "repository.py").write_text("raise RuntimeError('no')")

    with pytest.raises(ServerError, match=r"other/src cannot write .*RuntimeError: no"):
        render(an_order(tmp_path), another)
