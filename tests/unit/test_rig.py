"""The rig: one server at a time, each point measured once, nothing recorded lost."""

import os
import sys
from contextlib import contextmanager
from dataclasses import replace

import pytest

from perfgate import recorded
from perfgate import rig as rig_module
from perfgate.dilation import SERIES
from perfgate.errors import NoSamplesError, ServerError, UsageError
from perfgate.hardware import load_profile
from perfgate.load.spool import Plan, Receiver
from perfgate.measure import measure as measure_module
from perfgate.measure.validity import DISTURBANCES
from perfgate.mock_server import Misbehaviour, MockServer, Script
from perfgate.model import LoadPlacement, Protocol, Sampling, Target, Veto, Workload
from perfgate.observe.watch import PERIOD_S
from perfgate.records import read_run
from perfgate.rig import Rig
from perfgate.setting import Setting
from perfgate.suite import load_suite
from tests.unit.factories import an_audit
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

ACTIVE = 'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"}'


class Observer:
    """Remembers what it is told."""

    def __init__(self):
        self.steps = []
        self.seen = []

    def begin(self, what):
        """Keep the step's name."""
        self.steps.append(what)

    def advance(self, done, total):
        """Keep how far it got."""
        self.seen.append((done, total))

    def end(self):
        """Nothing to close."""


class Servers:
    """Stands for Triton: boots a mocked server and counts its boots and stops."""

    def __init__(self):
        self.script = Script(input_tokens=4)
        self.boots = []
        self.dilations = []
        self.running = 0
        self.scrapes_left = None
        self.active = []

    @contextmanager
    def serve(self, engine, serving, *, time_dilation, **_):  # noqa: ARG002 - the signature is Triton's
        """Yield a mocked server for the engine."""
        self.boots.append(engine.spec.name)
        self.dilations.append(time_dilation)
        self.running += 1
        try:
            with MockServer(self.script) as mock:
                yield mock.server
        finally:
            self.running -= 1

    def scrape(self, url):  # noqa: ARG002 - planted metrics
        """Answer as often as `scrapes_left` says, then as a dead server does."""
        if self.scrapes_left is not None:
            if not self.scrapes_left:
                raise ServerError("no metrics from nowhere: connection refused")
            self.scrapes_left -= 1
        told = {f"{SERIES}{{}}": float(self.dilations[-1])} if self.dilations[-1] > 1 else {}
        return {ACTIVE: self.active.pop(0) if self.active else 0.0} | told


@pytest.fixture
def servers(monkeypatch):
    """Mocked servers in place of Triton."""
    servers = Servers()
    monkeypatch.setattr(rig_module, "serve", servers.serve)
    monkeypatch.setattr(rig_module, "scrape", servers.scrape)
    return servers


def disturb(monkeypatch, times):
    """Let the first `times` measurements be vetoed for a busy machine, and no other."""
    left = [times]

    def measure(run, policy, *, records=""):
        measurement = measure_module.measure(run, policy, records=records)
        left[0] -= 1
        lag = Veto(rule="client-lag", message="the load client woke up late")
        own = tuple(veto for veto in measurement.vetoes if veto.rule not in DISTURBANCES)
        return replace(measurement, vetoes=(lag, *own) if left[0] >= 0 else own)

    monkeypatch.setattr(recorded, "measure", measure)


@pytest.fixture
def rig(tmp_path, servers, monkeypatch):  # noqa: ARG001 - Triton must be replaced before the boot
    """A rig that records into a temporary folder, on a machine that nothing disturbs."""
    disturb(monkeypatch, times=0)
    monkeypatch.setattr(rig_module, "SETTLE_S", 0.0)  # a mocked server's metrics stand still
    suite = replace(load_suite(ROOT), root=tmp_path)
    profile = load_profile(ROOT / "hardware" / "gb10.toml")
    setting = Setting(
        suite=suite, target=Target.SIM, profile=profile, artifacts=tmp_path / "artifacts"
    )
    with Rig(setting, Observer()) as rig:
        yield rig


def small(point_id):
    """One of the suite's points with a load that a mocked server answers in a blink."""
    return replace(
        load_suite(ROOT).point(point_id),
        workload=Workload(concurrency=2, isl=4, osl=8),
        sampling=Sampling(rounds=2, round_requests=4),
    )


def test_a_point_is_measured_once_and_recorded(rig, servers):
    """A second question is answered from memory, and the requests are on disk."""
    point = small("fp8-b16-c16")

    measurement = rig.measure(point)

    assert rig.measure(point) is measurement
    assert servers.boots == ["fp8-b16"]
    assert measurement.requests == 8
    assert read_run(rig.records / "fp8-b16-c16.jsonl.gz").point == point


def test_a_point_s_protocol_is_how_its_server_is_asked(rig, servers):
    """Over one server, and told apart in the fingerprint; gRPC says nothing, as it always did."""
    point = small("fp8-b16-c16")
    over_grpc = rig.measure(point)
    over_http = rig.measure(replace(point, id="http", protocol=Protocol.HTTP))

    assert servers.boots == ["fp8-b16"]
    assert "protocol" not in over_grpc.fingerprint.identity
    assert over_http.fingerprint.identity["protocol"] == "http"
    assert over_http.output_tokens > 0


def test_the_server_is_watched_while_it_is_loaded(rig, servers):
    """Telemetry is stored with the requests; a server without metrics is told, not an error."""
    point = small("fp8-b16-c16")

    measurement = rig.measure(point)
    telemetry = read_run(rig.records / "fp8-b16-c16.jsonl.gz").telemetry

    assert servers.boots
    assert telemetry.period_s == PERIOD_S
    assert any("the server was not watched" in fault for fault in telemetry.faults)
    assert set(telemetry.faults) <= set(measurement.notes)


def test_points_of_one_engine_share_a_server(rig, servers):
    """Only another engine boots another server, after the first has stopped."""
    rig.measure(small("fp8-b192-c128"))
    rig.measure(small("fp8-b192-c160"))
    rig.measure(small("fp8-b64-c64"))

    assert servers.boots == ["fp8-b192", "fp8-b64"]
    assert servers.running == 1


def test_leaving_the_rig_stops_the_server(rig, servers):
    """No server outlives the rig."""
    rig.measure(small("fp8-b16-c16"))

    rig.__exit__(None, None, None)

    assert servers.running == 0


def test_rounds_run_under_somebody_else_s_stopwatch(rig):
    """What the stopwatch leaves out is run all the same."""
    timed = []

    def once(one_round, rounds):
        timed.append(rounds)
        one_round()

    measurement = rig.measure(small("fp8-b16-c16"), time_rounds=once)

    assert timed == [2]
    assert len(measurement.round_tok_s) == 2


def test_a_server_lost_in_mid_run_is_a_veto_with_its_records(rig, servers):
    """The requests until then are kept; the next point gets a fresh server."""
    servers.script = Script(input_tokens=4, misbehaviour=Misbehaviour.RESET, after=3)
    broken = small("fp8-b192-c128")

    with pytest.raises(NoSamplesError):
        rig.measure(broken)
    with pytest.raises(NoSamplesError):
        rig.measure(broken)
    servers.script = Script(input_tokens=4)
    rig.measure(small("fp8-b192-c160"))

    assert read_run(rig.records / "fp8-b192-c128.jsonl.gz").records
    assert servers.boots == ["fp8-b192", "fp8-b192"]


def test_a_server_that_dies_at_the_very_end_vetoes_the_point(rig, servers):
    """A run after which the server is gone is recorded with that fault."""
    servers.scrapes_left = 1

    measurement = rig.measure(small("fp8-b16-c16"))

    assert "faults" in {veto.rule for veto in measurement.vetoes}
    assert servers.running == 0


def test_a_disturbed_point_is_measured_again_at_half_the_speed(rig, servers, monkeypatch):
    """The second try counts and says why there was one; the first one's records are kept."""
    disturb(monkeypatch, times=1)

    measurement = rig.measure(small("fp8-b16-c16"))

    assert measurement.vetoes == ()
    assert any("simulated 2 times slower" in note for note in measurement.notes)
    assert "the first was disturbed (client-lag)" in measurement.notes[-1]
    assert {path.name for path in rig.records.iterdir()} == {
        "fp8-b16-c16.jsonl.gz",
        "fp8-b16-c16.disturbed.jsonl.gz",
    }
    assert read_run(rig.records / "fp8-b16-c16.jsonl.gz").time_dilation == 2
    assert servers.dilations == [1, 2]


def test_the_point_after_a_disturbed_one_begins_in_real_time(rig, servers, monkeypatch):
    """Each point is measured by itself: what disturbed one may have gone."""
    disturb(monkeypatch, times=1)

    rig.measure(small("fp8-b192-c128"))
    rig.measure(small("fp8-b192-c160"))

    assert servers.dilations == [1, 2, 1]


def test_a_point_disturbed_three_times_stays_vetoed(rig, servers, monkeypatch):
    """There is no fourth try: the machine is too busy, and that is the verdict."""
    disturb(monkeypatch, times=3)

    measurement = rig.measure(small("fp8-b16-c16"))

    assert [veto.rule for veto in measurement.vetoes] == ["client-lag"]
    assert {path.name for path in rig.records.iterdir()} == {
        "fp8-b16-c16.jsonl.gz",
        "fp8-b16-c16.disturbed.jsonl.gz",
        "fp8-b16-c16.disturbed-2.jsonl.gz",
    }
    assert servers.dilations == [1, 2, 4]


def test_a_real_engine_cannot_be_slowed_down(rig, servers, monkeypatch):
    """It is measured twice at its own speed."""
    rig._setting = replace(rig._setting, target=Target.REFERENCE)
    disturb(monkeypatch, times=2)

    measurement = rig.measure(small("fp8-b16-c16"))

    assert [veto.rule for veto in measurement.vetoes] == ["client-lag"]
    assert set(servers.dilations) == {1}


def test_a_point_waits_for_what_an_earlier_load_left_in_the_engine(rig, servers, monkeypatch):
    """Requests whose client has gone still run: no load starts beside them."""
    monkeypatch.setattr(rig_module, "_POLL_S", 0.0)
    servers.active = [3.0, 2.0, 0.0]

    rig.measure(small("fp8-b16-c16"))

    assert servers.active == []
    assert "let the engine finish the load before" in rig._observer.steps


def test_an_engine_that_never_gets_idle_fails_the_point(rig, servers, monkeypatch):
    """After the patience the point is unmeasured and its server stopped."""
    monkeypatch.setattr(rig_module, "DRAIN_S", 0.0)
    servers.active = [1.0] * 1000

    with pytest.raises(ServerError, match="still busy"):
        rig.measure(small("fp8-b16-c16"))

    assert servers.running == 0


def test_a_server_found_dead_fails_its_point_only(rig, servers):
    """The point that found it dead is unmeasured; the next boots anew."""
    rig.measure(small("fp8-b192-c128"))
    servers.scrapes_left = 0

    with pytest.raises(ServerError):
        rig.measure(small("fp8-b192-c160"))
    servers.scrapes_left = None
    rig.measure(small("fp8-b192-c192"))

    assert servers.boots == ["fp8-b192", "fp8-b192"]


def workers(rig, point, tmp_path):
    """How many worker processes the rig would start for a point; none is started."""
    requests = [b""] * point.workload.concurrency
    plan = Plan(
        address="a:1",
        receiver=Receiver.FAST,
        concurrency=point.workload.concurrency,
        ramp=1,
        deadline_s=1.0,
        stall_s=1.0,
        requests=requests,
    )
    return len(rig._crew(point)(plan, tmp_path))


@pytest.mark.parametrize("cores", [1, 2, 20])
def test_one_worker_sends_each_of_the_suite_s_loads(rig, tmp_path, monkeypatch, cores):
    """None of the points takes half a core, so that none pays for a second worker."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cores)))

    assert {workers(rig, point, tmp_path) for point in load_suite(ROOT).points} == {1}


def test_a_load_that_was_too_much_for_its_worker_gets_more(rig, tmp_path, monkeypatch):
    """The second try is shared out by what the first was seen to cost: 0.9 cores are two halves."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    point = load_suite(ROOT).point("fp8-b192-c160")
    rig._audits[point.id] = replace(an_audit(), cpu_s=9.0, wall_s=10.0)

    assert workers(rig, point, tmp_path) == 2

    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    assert workers(rig, point, tmp_path) == 1  # the server needs the other core


def test_the_suite_may_say_how_many_workers(rig, tmp_path):
    """What stands in [load] is not reasoned about."""
    suite = replace(rig._setting.suite, load=LoadPlacement(workers=3))
    rig._setting = replace(rig._setting, suite=suite)

    assert workers(rig, load_suite(ROOT).point("fp8-b16-c16"), tmp_path) == 3
    measured = rig.measure(
        replace(small("fp8-b16-c16"), workload=Workload(concurrency=3, isl=4, osl=8))
    )
    assert len(measured.audit.workers) == 3


def test_load_from_a_cluster_without_ray_is_refused_before_anything_boots(
    rig, servers, monkeypatch
):
    """The field, its value and the extra that is missing are named."""
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "perfgate.load.ray_workers", raising=False)
    suite = replace(rig._setting.suite, load=LoadPlacement(ray="auto"))

    with pytest.raises(UsageError, match=r"load\.ray.*auto.*perfgate\[ray\]"):
        Rig(replace(rig._setting, suite=suite), Observer()).__enter__()
    assert servers.boots == []
