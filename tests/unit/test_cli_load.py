"""The commands around the load client."""

from __future__ import annotations

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from perfgate.cli.load import Stamper, audit, calibration_text
from perfgate.errors import UsageError
from perfgate.load.calibration import Calibration
from perfgate.load.fidelity import Errors, Fidelity
from perfgate.load.spool import Receiver
from perfgate.load.tensors import REQUIRED_INPUTS
from perfgate.model import ClientAudit, Protocol
from perfgate.serving.stamped import write_stamped

pytestmark = pytest.mark.unit

FOUND = Calibration(
    receiver=Receiver.FAST,
    protocol=Protocol.HTTP,
    concurrency=64,
    tok_s=3157.0,
    cpu_us_per_token=40.6,
    fidelity=Fidelity(
        requests=128,
        tokens=16384,
        lag=Errors(p50_s=0.000122, p95_s=0.000641, p99_s=0.001189, worst_s=0.014245),
        gap_error=Errors(p50_s=0.0, p95_s=0.0005, p99_s=0.001352, worst_s=0.0145),
        ttft_error=Errors(p50_s=0.00085, p95_s=0.002, p99_s=0.00877, worst_s=0.009),
        lost=1,
        doubled=2,
        reordered=3,
    ),
    audit=ClientAudit(
        cpu_s=1.3,
        wall_s=10.0,
        messages=32000,
        lag_p99_s=0.00595,
        lag_max_s=0.02,
        late_sends=0,
        involuntary_switches=7,
    ),
    faults=("the wall clock was set",),
)


def test_an_audit_is_told_in_milliseconds_with_every_loss():
    """Errors by percentile, tokens lost and doubled, cost and faults: nothing is left out."""
    text = calibration_text(FOUND)

    assert "receiver fast, http, 64 streams, 16384 tokens at 3157 tok/s" in text
    assert "0.122    0.641    1.189   14.245" in text
    assert "tokens lost 1, doubled 2, out of order 3" in text
    assert "40.6 us a token (13% of a core)" in text
    assert "fault: the wall clock was set" in text


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"protocol": Protocol.OPENAI}, "--protocol"),
        ({"server": Stamper.PLAIN, "protocol": Protocol.GRPC}, "--protocol"),
        ({"server": Stamper.PLAIN, "receiver": Receiver.GRPC}, "--receiver"),
        ({"protocol": Protocol.HTTP, "receiver": Receiver.GRPC}, "--receiver"),
    ],
)
def test_a_way_that_nobody_can_be_asked_is_refused_before_anything_boots(options, field):
    """Triton speaks no OpenAI, a plain server no gRPC, the library's receiver nothing else."""
    with pytest.raises(UsageError, match=field):
        audit(**options)


def test_a_negative_pace_is_refused_before_anything_boots():
    """Field, value and rule are named."""
    with pytest.raises(UsageError, match=r"--pace-ms: got -1\.0, but it must be 0 or more"):
        audit(pace_ms=-1.0)


def test_the_stamping_model_takes_what_the_client_sends(tmp_path):
    """Its configuration parses, is decoupled, and has every input the client insists on."""
    folder = write_stamped(tmp_path / "models", step_s=0.0025) / "tensorrt_llm"
    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())

    assert config.model_transaction_policy.decoupled
    assert set(REQUIRED_INPUTS) <= {tensor.name for tensor in config.input}
    assert config.parameters["step_us"].string_value == "2500"
    assert (folder / "1" / "model.py").is_file()
