"""Both receivers on a real Triton: the same requests bring the same messages."""

import pytest
from tritonclient.grpc import service_pb2

from perfgate.load.calibration import calibrate_client
from perfgate.load.closed_loop import ClosedLoop
from perfgate.load.spool import Receiver
from perfgate.model import RequestStatus, Workload
from perfgate.serving.stamped import serve_stamped
from perfgate.serving.tokenizer import load_tokenizer, prompts

pytestmark = pytest.mark.triton

PROMPTS = prompts(load_tokenizer(), isl=24, count=60, seed=5)


def content(message):
    """What a message says: tensors and parameters, without the order of a map's entries."""
    response = service_pb2.ModelStreamInferResponse.FromString(message).infer_response
    timed = {"_time_ns" in output.name for output in response.outputs}
    return (
        response.id,
        [(output.name, output.datatype, tuple(output.shape)) for output in response.outputs],
        () if True in timed else tuple(response.raw_output_contents),
        {key: value.bool_param for key, value in response.parameters.items()},
    )


def messages(server, receiver, spool):
    """What every finished request of one load brought, by its index."""
    heard = {}
    load = ClosedLoop(
        server,
        Workload(concurrency=6, isl=24, osl=12),
        PROMPTS,
        spool=spool,
        receiver=receiver,
        on_exchange=lambda one: heard.update({one.index: [content(m) for m in one.messages]}),
    )
    with load:
        load.ramp_up()
        load.round(18)
        outcome = load.finish()
    assert {record.status for record in outcome.records} == {RequestStatus.OK}
    return heard


def test_both_receivers_hear_the_same(server, tmp_path):
    """Message by message, the fast receiver brings what the library brings: none lost or torn."""
    fast = messages(server, Receiver.FAST, tmp_path)
    library = messages(server, Receiver.GRPC, tmp_path)
    common = fast.keys() & library.keys()

    assert len(common) >= 24
    assert {index: fast[index] for index in common} == {index: library[index] for index in common}


@pytest.mark.parametrize("receiver", list(Receiver), ids=str)
def test_stamps_hold_against_the_servers_own(receiver, tmp_path):
    """No token is lost, doubled or out of order, and none arrives before it was sent."""
    with serve_stamped(step_s=0.005, workdir=tmp_path) as server:
        found = calibrate_client(
            server, Workload(concurrency=8, isl=4, osl=64), requests=16, receiver=receiver
        )

    fidelity = found.fidelity
    assert found.faults == ()
    assert fidelity.tokens == fidelity.requests * 64
    assert (fidelity.lost, fidelity.doubled, fidelity.reordered) == (0, 0, 0)
    assert fidelity.lag.p50_s > 0
