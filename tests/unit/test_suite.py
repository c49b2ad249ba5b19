"""points.toml and policy.toml: what they hold, and what a mistake in them says."""

import shutil

import pytest

from perfgate.errors import UsageError
from perfgate.model import Limits, LoadPlacement, Objective, Protocol
from perfgate.suite import find_root, load_suite
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit


@pytest.fixture
def edited(tmp_path):
    """Load the suite's own files with one text replaced in one of them."""

    def load(old, new, name="points.toml"):
        for file in ("points.toml", "policy.toml"):
            shutil.copy(ROOT / file, tmp_path / file)
        text = (tmp_path / name).read_text()
        assert old in text
        (tmp_path / name).write_text(text.replace(old, new, 1))
        return load_suite(tmp_path)

    return load


def test_the_report_s_claims_are_the_floors():
    """The four phases carry the field report's floors and ceilings."""
    claims = {point.id: point.claim for point in load_suite(ROOT).points if point.claim}

    assert {point: (claim.floor_tok_s, claim.ceiling_p95_s) for point, claim in claims.items()} == {
        "fp16-b16-c16": (300, 7.2),
        "fp8-b16-c16": (500, 4.3),
        "fp8-b64-c64": (1493, 5.8),
        "fp8-b192-c160": (3000, 7.0),
    }


def test_a_point_s_defaults_can_be_overridden(edited):
    """A point's own length wins over [point_defaults], another point keeps the default."""
    suite = edited("concurrency = 16\n", "concurrency = 16\nosl = 512\n")

    assert suite.points[0].workload.osl == 512
    assert suite.points[1].workload.osl == 128


def test_a_point_may_have_an_objective_and_a_protocol(edited):
    """What each of its requests is held to, and how its server is asked."""
    more = 'objective = { ttft_s = 0.5, latency_s = 7 }\nprotocol = "http"\n'
    suite = edited("concurrency = 16\n", f"concurrency = 16\n{more}")

    assert suite.points[0].objective == Objective(ttft_s=0.5, latency_s=7)
    assert suite.points[0].protocol is Protocol.HTTP
    assert (suite.points[1].objective, suite.points[1].protocol) == (None, Protocol.GRPC)


def test_a_paired_cell_can_have_limits_of_its_own(edited):
    """They stand under the cell's name, and a misspelt one is refused."""
    table = '[paired.own."fp8-b192-c160:{}"]\ntolerance = 0.0\nmargin = 0.01\n'
    plain = "budget_minutes = 100"

    suite = edited(plain, f"{plain}\n{table.format('tpot_p50_s')}", "policy.toml")
    assert suite.policy.paired.own == {
        "fp8-b192-c160:tpot_p50_s": Limits(tolerance=0.0, margin=0.01)
    }
    with pytest.raises(UsageError, match="primary or secondary"):
        edited(plain, f"{plain}\n{table.format('itl_p50_s')}", "policy.toml")


def test_every_point_has_its_default_run_or_is_on_request():
    """What takes too long is named, and the rest is the default run."""
    suite = load_suite(ROOT)

    assert {"fp8-b192-c1", "fp8-b192-c256"} <= suite.on_request
    assert not suite.on_request & {point.id for point in suite.default_points}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "concurrency = 16",
            'concurrency = 16\nprotocol = "openai"',
            "protocol: got 'openai', but Triton is asked by grpc or http",
        ),
        ("concurrency = 16", "concurrency = 16\nobjective = {}", "set ttft_s, tpot_s, itl_s"),
        ("concurrency = 16", "concurrency = 0", "fp16-b16-c16: concurrency: got 0"),
        ("floor_tok_s = 300", "floor = 300", "claim.floor: .* is it misspelt"),
        ("max_batch_size = 16", "max_batch = 16", "max_batch_size"),
        ('precision = "fp16"', 'precision = "fp15"', "fp15"),
        ("concurrency = 16", "concurrency = 16\nisl = 9999", "at most 1536 input tokens"),
        ('engine = "fp16-b16"', 'engine = "fp4"', "fp4"),
        ('id = "fp8-b16-c16"', 'id = "fp16-b16-c16"', "each id may stand once"),
        ('id = "fp8-b16-c16"', 'id = "../fp8"', "starting with a letter or digit"),
        ('point = "fp8-b16-c16"', 'point = "nowhere"', "it must name a point"),
        ("seed = ", "seed ", "valid TOML"),
    ],
    ids=[
        "protocol",
        "objective",
        "zero",
        "misspelt",
        "missing",
        "enum",
        "too-long",
        "no-engine",
        "twice",
        "path",
        "no-point",
        "syntax",
    ],
)
def test_a_mistake_is_told_with_field_and_rule(edited, old, new, told):
    """Bad input names the file, the field, the value and the rule."""
    with pytest.raises(UsageError, match=told) as raised:
        edited(old, new)
    assert "points.toml" in str(raised.value)


def test_a_policy_out_of_range_is_refused(edited):
    """A margin of 500 % is no margin."""
    with pytest.raises(UsageError, match=r"latency_margin: got 5\.0"):
        edited("latency_margin = 0.05", "latency_margin = 5.0", "policy.toml")


def test_the_root_is_found_from_below(tmp_path):
    """A command works from any folder of the suite, and says so outside of one."""
    (tmp_path / "points.toml").touch()
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)

    assert find_root(below) == tmp_path
    with pytest.raises(UsageError, match=r"points\.toml"):
        find_root(tmp_path.parent)


def test_an_unknown_name_lists_the_known_ones():
    """Asking for a point or comparison that is not there says which are."""
    suite = load_suite(ROOT)

    with pytest.raises(UsageError, match="fp8-b192-c160"):
        suite.point("fp8-b192-c161")
    with pytest.raises(UsageError, match="starved-batch"):
        suite.comparison("starved")


def test_load_comes_from_here_unless_the_suite_says_otherwise(edited):
    """Without [load] the rig decides; with it, workers and machines are what stands there."""
    assert edited("seed =", "seed =").load == LoadPlacement()
    load = '[load]\nworkers = 4\nray = "auto"\n[engine_defaults]'
    assert edited("[engine_defaults]", load).load == LoadPlacement(workers=4, ray="auto")


@pytest.mark.parametrize(
    ("line", "words"),
    [("workers = 0", "workers"), ('workers = "many"', "workers"), ("nodes = 2", "nodes")],
)
def test_a_mistake_in_the_load_s_place_is_named(edited, line, words):
    """File, table and field are in the message."""
    with pytest.raises(UsageError, match=rf"points\.toml: load.*{words}"):
        edited("[engine_defaults]", f"[load]\n{line}\n[engine_defaults]")
