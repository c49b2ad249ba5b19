"""What is sampled beside a load, of which GPU, and what becomes of failures."""

import http.server
import threading
from contextlib import contextmanager
from dataclasses import replace

import pytest

from perfgate.errors import ServerError
from perfgate.model import Server, ServerSample, Target
from perfgate.observe import watch as watch_module
from perfgate.observe.fake_nvml import FakeNvml, gb10, h100
from perfgate.observe.gauges import server_sample
from perfgate.observe.nvml import open_nvml
from perfgate.observe.watch import Watcher, served_gpu

pytestmark = pytest.mark.unit

LABELS = 'model="tensorrt_llm",version="1"'
METRICS = f"""
nv_trt_llm_request_metrics{{{LABELS},request_type="active"}} 160
nv_trt_llm_request_metrics{{{LABELS},request_type="waiting"}} 3
nv_trt_llm_request_metrics{{{LABELS},request_type="max"}} 192
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="fraction",{LABELS}}} 0.62
nv_trt_llm_kv_cache_block_metrics{{kv_cache_block_type="used",{LABELS}}} 1270
perfgate_sim_gpu_utilization{{{LABELS}}} 0.97
"""


@contextmanager
def metrics_server(text):
    """A server of the given metrics."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            """Stay silent."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        try:
            yield a_server(f"http://127.0.0.1:{httpd.server_port}/metrics")
        finally:
            httpd.shutdown()
            thread.join()


def a_server(metrics_url="http://127.0.0.1:1/metrics"):
    """A server somewhere."""
    return Server(grpc_url="", http_url="", metrics_url=metrics_url, simulated=True)


def watched(server, *, target=Target.TRT_ENGINE, library=None, meanwhile=lambda: None):
    """The telemetry of a block in which one sample was taken."""
    taken = threading.Event()
    take = watch_module._Samples.take

    def take_and_tell(samples):
        take(samples)
        taken.set()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(watch_module._Samples, "take", take_and_tell)
        watcher = Watcher(target, library=library or FakeNvml(), environment={}, period_s=60)
        meanwhile()
        with watcher.watch(server) as telemetry:
            assert taken.wait(10)
        watcher.close()
    return telemetry()


def test_triton_s_gauges_are_read():
    """KV-cache share, active and waiting requests, and the simulated GPU's utilisation."""
    with metrics_server(METRICS) as server:
        (sample,) = watched(server, target=Target.SIM).server

    assert replace(sample, at_ns=0) == ServerSample(
        at_ns=0, kv_cache=0.62, active=160, waiting=3, gpu_utilization=0.97
    )


def test_a_server_without_these_gauges_has_none():
    """An LLM API server exports no such family, and NaN is no value: None, not zero."""
    assert server_sample({"nv_inference_count": 3.0}, at_ns=5) == ServerSample(at_ns=5)
    assert server_sample({"nv_gpu_utilization{}": float("nan")}, at_ns=5) == ServerSample(at_ns=5)


def test_a_real_gpu_s_utilisation_comes_from_triton_where_it_has_it():
    """Of several GPUs the busiest counts."""
    metrics = {'nv_gpu_utilization{gpu_uuid="a"}': 0.2, 'nv_gpu_utilization{gpu_uuid="b"}': 0.9}

    assert server_sample(metrics, at_ns=0).gpu_utilization == 0.9


def test_the_gpu_is_sampled_on_hardware_targets():
    """Clock, power, temperature, faults and processes, beside the server's gauges."""
    library = FakeNvml(gpus=[gb10()])

    with metrics_server(METRICS) as server:
        telemetry = watched(server, library=library)

    (sample,) = telemetry.gpu
    assert (sample.sm_clock_mhz, sample.power_w, sample.temperature_c) == (2411, 38.5, 61)
    assert (sample.utilization, sample.slowdowns, sample.pids) == (0.96, (), ())
    assert telemetry.sm_clock_max_mhz == 3003
    assert telemetry.server
    assert telemetry.faults == ()
    assert library.opened == 0


def test_a_simulated_target_asks_no_gpu():
    """What a GPU of this machine does says nothing about a simulated engine."""
    assert watched(a_server(), target=Target.SIM, library=FakeNvml(gpus=[gb10()])).gpu == ()


def test_the_server_s_processes_are_those_that_came_with_it():
    """Who was there before the boot is kept apart from who is there at the start, with names."""
    gpu = replace(gb10(), pids=[5])
    library = FakeNvml(gpus=[gpu], process_names={5: "ollama", 6: "tritonserver"})

    telemetry = watched(a_server(), library=library, meanwhile=lambda: gpu.pids.append(6))

    assert telemetry.pids_before == (5,)
    assert telemetry.pids_at_start == (5, 6)
    assert telemetry.process_names == {"5": "ollama", "6": "tritonserver"}


def test_what_cannot_be_watched_is_told_and_harms_nothing():
    """No driver and no metrics: two faults, no samples, no exception."""
    telemetry = watched(a_server())

    assert (telemetry.gpu, telemetry.server) == ((), ())
    assert [fault.split(":")[0] for fault in telemetry.faults] == [
        "the GPU was not watched",
        "the server was not watched all the time",
    ]


def test_a_gpu_lost_in_mid_run_is_told():
    """A GPU that falls off the bus ends the samples, not the run."""
    gpu = gb10()
    telemetry = watched(
        a_server(), library=FakeNvml(gpus=[gpu]), meanwhile=lambda: setattr(gpu, "lost", True)
    )

    assert telemetry.gpu == ()
    assert any("GPU is lost" in fault for fault in telemetry.faults)


@pytest.mark.parametrize(
    ("visible", "index"),
    [(None, 0), ("1", 1), ("1,0", 1), ("GPU-bb", 1), ("GPU-bb-2", 1)],
    ids=str,
)
def test_the_watched_gpu_is_the_server_s(visible, index):
    """The first GPU that CUDA may see is the one a server of one GPU computes on."""
    gpus = [replace(h100(), uuid="GPU-aa-1"), replace(h100(), uuid="GPU-bb-2")]
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}

    with open_nvml(FakeNvml(gpus=gpus)) as nvml:
        assert served_gpu(nvml.gpus(), environment).index == index


@pytest.mark.parametrize("visible", ["", "7", "GPU-zz"])
def test_a_gpu_that_is_not_there_is_named(visible):
    """Hiding all GPUs, or naming one that is not there, is told."""
    with open_nvml(FakeNvml(gpus=[h100()])) as nvml, pytest.raises(ServerError, match="no GPU"):
        served_gpu(nvml.gpus(), {"CUDA_VISIBLE_DEVICES": visible})
