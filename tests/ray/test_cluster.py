"""Load from the nodes of a Ray cluster: three on this machine, each with a worker of its own."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from perfgate.errors import LoadError, NoSamplesError, UsageError
from perfgate.load.running import RunningLoad
from perfgate.measure.measure import measure
from perfgate.mock_server import MockServer, Script
from perfgate.model import Policy, RequestStatus, Workload
from tests.unit.factories import a_load_run

ray = pytest.importorskip("ray")
from ray.cluster_utils import Cluster  # noqa: E402

from perfgate.load import ray_workers  # noqa: E402

pytestmark = [
    pytest.mark.ray,
    # Ray leaves sockets and subprocesses to the collector, here and at its end.
    pytest.mark.filterwarnings("ignore"),
]

SOURCE = Path(__file__).parents[2] / "src"
WORKLOAD = Workload(concurrency=6, isl=8, osl=8)
PROMPTS = [f"prompt {number}" for number in range(30_000)]
STORE = 80_000_000


@pytest.fixture(scope="module")
def cluster():
    """A head that gives no CPU, and three nodes that give one each."""
    os.environ["PYTHONPATH"] = str(SOURCE)  # for Ray's own processes
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    head = {"num_cpus": 0, "object_store_memory": STORE, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(3):
        cluster.add_node(num_cpus=1, object_store_memory=STORE)
    cluster.wait_for_nodes()
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture
def crew(cluster):
    """One worker on each node."""
    return ray_workers.on_ray(cluster.address, None)


@pytest.fixture
def server():
    """A mocked server that answers at a readable pace."""
    with MockServer(Script(itl_s=0.01)) as mock:
        yield mock


def test_the_nodes_make_one_load(crew, server, tmp_path):
    """Three nodes start together; their records are one run's, in this machine's time."""
    began_ns = time.perf_counter_ns()
    with RunningLoad(server.server, WORKLOAD, PROMPTS, spool=tmp_path, crew=crew) as load:
        load.ramp_up()
        load.round(30)
        outcome = load.finish()

    audit, records = outcome.audit, outcome.records
    firsts = sorted(r.due_ns for r in records if r.index < WORKLOAD.concurrency)
    assert outcome.faults == ()
    assert {record.status for record in records} == {RequestStatus.OK}
    assert len({record.index for record in records}) == len(records) == len(server.prompts)
    assert {record.client for record in records} == set(range(WORKLOAD.concurrency))
    assert len({worker.host for worker in audit.workers}) == 3
    # All nodes share this machine's clock, which says how true the stated uncertainty is.
    assert 0 < audit.clock_uncertainty_s < 0.1
    assert firsts[-1] - firsts[0] <= 2e9 * audit.clock_uncertainty_s
    assert began_ns < firsts[0] < records[-1].finished_ns < time.perf_counter_ns()
    assert len(outcome.marks_ns) == 2
    assert list(tmp_path.iterdir()) == []


def test_each_worker_has_a_cpu_of_its_own():
    """One a node; more take turns where CPUs are left; one too many is refused, not waited for."""
    small, large = {"Resources": {"CPU": 1.0}}, {"Resources": {"CPU": 3.0}}

    assert ray_workers.places_for([small, large], None) == [small, large]
    assert ray_workers.places_for([small, large], 4) == [small, large, large, large]
    with pytest.raises(UsageError, match=r"load\.workers.*have 4 CPUs"):
        ray_workers.places_for([small, large], 5)


@pytest.mark.usefixtures("crew")
def test_a_server_on_this_machine_alone_is_no_server_for_others(monkeypatch):
    """A loopback address is another machine on every node: refused before a request is sent."""
    monkeypatch.setattr(ray_workers.ray.util, "get_node_ip_address", lambda: "192.0.2.1")

    with pytest.raises(LoadError, match="cannot reach it"):
        ray_workers._nodes("127.0.0.1:8001")
    assert len(ray_workers._nodes("192.0.2.7:8001")) == 3


def test_no_cluster_is_a_mistake_in_the_suite(monkeypatch):
    """An address where no cluster answers is named, with the field it stands in."""
    monkeypatch.setattr(ray_workers.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray_workers.ray, "init", _refuse)

    with pytest.raises(UsageError, match=r"load\.ray.*192\.0\.2\.1:6379"):
        ray_workers.join("192.0.2.1:6379")


def test_a_load_that_lost_a_node_is_not_measured(cluster, crew, server, tmp_path):
    """A node that dies in mid-run ends the load: what it recorded is gone, and nothing is smaller.

    The reason is a fault of the run. Its records cannot even say when the ramp was over.
    """
    with RunningLoad(server.server, WORKLOAD, PROMPTS, spool=tmp_path, crew=crew) as load:
        load.ramp_up()
        load.round(12)
        cluster.remove_node(cluster.worker_nodes.copy().pop(), allow_graceful=False)
        with pytest.raises(LoadError, match=r"lost|no answer"):
            load.round(20_000)
        outcome = load.finish()

    run = a_load_run(outcome.records, marks_ns=outcome.marks_ns, faults=outcome.faults)
    assert "lost" in outcome.faults[0]
    assert {record.client % 3 for record in outcome.records} < {0, 1, 2}
    with pytest.raises(NoSamplesError, match="lost"):
        measure(run, Policy())
    assert list(tmp_path.iterdir()) == []


def _refuse(**_):
    raise ConnectionError("Could not find any running Ray instance")
