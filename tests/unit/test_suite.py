"""points.toml and policy.toml: what they hold, and what a mistake in them says."""

import json
import shutil
from dataclasses import replace

import pytest

from perfgate.errors import UsageError
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Length,
    LengthClass,
    LengthLaw,
    Limits,
    LoadPlacement,
    Objective,
    Protocol,
    Sessions,
    SharedPrefix,
    Workload,
)
from perfgate.provenance import workload_digest
from perfgate.suite import find_root, load_suite
from perfgate.workload_form import trace_rows
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

POINT = "round_requests = 16\n"  # of the first point; what follows is added to it
TRACE = """\
{"timestamp": 0, "input_length": 20, "output_length": 50}
{"timestamp": 500, "input_length": 700, "output_length": 10}
"""


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


def also(line):
    """The edit that adds a line to the first point."""
    return POINT, f"{POINT}{line}\n"


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
        ("isl = 128\n", "", "isl: got None"),
        (*also('arrivals = { process = "poisson" }'), "arrivals.requests_per_s: got None"),
        (*also('arrivals = { process = "pareto" }'), "pareto"),
        (*also('arrivals = { process = "poisson", rate = 1 }'), "rate.* is it misspelt"),
        (*also('arrivals = { process = "replay", trace = "../t" }'), "in the suite's folder"),
        (*also('arrivals = { process = "replay", trace = "no" }'), "it must be a text file"),
        (*also("isl = 9\nmix = [{ name = 'a', share = 1, isl = 1, osl = 1 }]"), "isl: got 9"),
        (*also("mix = [{ name = 'a', share = 0.5, isl = 1, osl = 1 }]"), "add up to 1"),
        (*also("isl = { least = 9, most = 8 }"), "most: got 8"),
        (*also("osl = { least = 8, most = 9, laws = 'normal' }"), "laws"),
        (*also("sessions = { turns = 9 }"), "isl: got 2176"),
        (*also("prefix = { share = 1.0 }"), r"share: got 1\.0"),
        (*also("half_width = 0.01"), "max_rounds: got None"),
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
        "no-length",
        "no-rate",
        "no-such-process",
        "no-such-arrivals-field",
        "trace-outside",
        "no-trace",
        "two-lengths",
        "shares",
        "bounds",
        "no-such-length-field",
        "conversation-too-long",
        "all-shared",
        "without-end",
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


def test_a_load_of_any_shape_can_be_written(edited):
    """Arrivals, mixes, distributions, conversations and shared prefixes."""
    mix = """\
mix = [
    { name = "short", share = 0.9, isl = 128, osl = 128 },
    { name = "long", share = 0.1, isl = { least = 512, most = 1024 }, osl = 64 },
]
arrivals = { process = "bursts", requests_per_s = 4, burst = 8 }
prefix = { share = 0.5, groups = 4 }
"""
    load = edited(POINT, POINT + mix).points[0].workload

    assert (load.isl, load.osl, load.most_tokens) == (1024, 128, 1088)
    assert load.mix[1].isl == Length(least=512, most=1024)
    assert load.arrivals == Arrivals(process=ArrivalProcess.BURSTS, requests_per_s=4.0, burst=8)
    assert load.prefix == SharedPrefix(share=0.5, groups=4)


def test_one_length_may_be_a_distribution(edited):
    """The other one stays what the defaults say."""
    law = 'isl = { law = "normal", mean = 300, stdev = 90, least = 16, most = 900 }\n'
    load = edited(POINT, POINT + law).points[0].workload

    assert (load.isl, load.osl) == (900, 128)
    assert load.mix[0].isl.law is LengthLaw.NORMAL
    assert load.mix[0].osl == Length(least=128, most=128)


def test_a_trace_is_known_by_its_content(edited, tmp_path):
    """Its rate, its greatest lengths, its digest; changed since, it is refused."""
    trace = tmp_path / "t.jsonl"
    trace.write_text(TRACE)
    load = (
        edited(POINT, POINT + 'arrivals = { process = "replay", trace = "t.jsonl" }\n')
        .points[0]
        .workload
    )

    assert (load.isl, load.osl, load.most_tokens) == (700, 50, 710)
    assert load.trace.requests_per_s == load.arrivals.requests_per_s == 2.0
    assert [row.isl for row in trace_rows(load, tmp_path)] == [20, 700]
    trace.write_text(TRACE.replace("700", "701"))
    with pytest.raises(UsageError, match="it has changed"):
        trace_rows(load, tmp_path)


def test_a_mistake_in_a_trace_names_its_line(edited, tmp_path):
    """Before anything is built or booted."""
    (tmp_path / "t.jsonl").write_text(TRACE.replace("700", "-7"))

    with pytest.raises(UsageError, match=r"points\.toml.*t\.jsonl: line 2: input_length: got -7"):
        edited(POINT, POINT + 'arrivals = { process = "replay", trace = "t.jsonl" }\n')


def test_new_kinds_of_load_rename_no_other():
    """The workload's name in the recorded baselines is still that of the points in the file."""
    suite = load_suite(ROOT)
    recorded = {
        point: cell["identity"]["workload"]
        for file in (ROOT / "baselines" / "gb10-sim").glob("*.json")
        for point, cell in json.loads(file.read_text())["cells"].items()
    }

    assert recorded
    assert {point: workload_digest(suite.point(point).workload) for point in recorded} == recorded


def test_every_part_of_a_load_is_in_its_name():
    """Two loads that differ in any way are not comparable."""
    load = Workload(concurrency=1, isl=128, osl=128)
    arrivals = Arrivals(process=ArrivalProcess.POISSON, requests_per_s=1)
    fixed = Length(least=128, most=128)
    others = [
        replace(load, arrivals=arrivals),
        replace(load, arrivals=replace(arrivals, requests_per_s=2)),
        replace(load, sessions=Sessions(turns=2)),
        replace(load, prefix=SharedPrefix(share=0.5)),
        replace(load, mix=(LengthClass(name="all", share=1, isl=fixed, osl=fixed),)),
    ]

    assert len({workload_digest(one) for one in (load, *others)}) == 6
