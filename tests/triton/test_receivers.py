"""The receivers on a real Triton: the same requests bring the same messages."""

import asyncio
import json
from dataclasses import replace

import aiohttp
import pytest
from tritonclient.grpc import service_pb2

from perfgate.load.calibration import calibrate_client
from perfgate.load.dialects import learn_dialect
from perfgate.load.planner import plan_requests
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Receiver
from perfgate.load.wire import END
from perfgate.model import Protocol, RequestStatus, Workload
from perfgate.serving.stamped import serve_stamped
from perfgate.serving.tokenizer import load_tokenizer, prompts
from perfgate.traffic.schedule import plan_schedule

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


LOAD = Workload(concurrency=6, isl=24, osl=12)


def event(message):
    """What an event over HTTP says, but for the engine's own stamps; None for the end."""
    if message == END:
        return None
    told = json.loads(message)
    return {name: value for name, value in told.items() if not name.endswith("_time_ns")}


def messages(server, receiver, spool, understood=content):
    """What every finished request of one load brought, by its index."""
    heard = {}
    load = RunningLoad(
        server,
        LOAD,
        PROMPTS,
        spool=spool,
        receiver=receiver,
        on_exchange=lambda one: heard.update({one.index: [understood(m) for m in one.messages]}),
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


async def library_events(server, requests):
    """The same requests through aiohttp, as many at once as the load has clients."""
    turns = asyncio.Semaphore(LOAD.concurrency)

    async def ask(session, request):
        head, _, body = request.partition(b"\r\n\r\n")
        path = head.split(b" ")[1].decode()
        async with turns, session.post(f"{server.http_url}{path}", data=body) as answer:
            assert answer.status == 200
            events = (await answer.read()).split(b"\n\n")
        assert events.pop() == b""
        return [*(event(one.removeprefix(b"data: ")) for one in events), None]

    async with aiohttp.ClientSession() as session:
        return await asyncio.gather(*(ask(session, request) for request in requests))


def test_the_http_receiver_hears_what_a_library_hears(server, tmp_path):
    """Event by event, over Triton's generate extension: none lost, doubled or torn."""
    asked = replace(server, protocol=Protocol.HTTP)
    fast = messages(asked, Receiver.FAST, tmp_path, event)
    schedule = plan_schedule(LOAD, len(PROMPTS))
    requests = plan_requests(LOAD, schedule, PROMPTS, learn_dialect(asked).serialise)
    library = asyncio.run(library_events(asked, requests[: max(fast) + 1]))

    assert len(fast) >= 24
    assert {len(heard) for index, heard in fast.items() if index >= LOAD.concurrency} <= {13, 14}
    assert fast == {index: library[index] for index in fast}


def test_both_protocols_bring_the_same_tokens(server, tmp_path):
    """What the events say is what the gRPC responses say: texts and counts."""
    over_http = messages(
        replace(server, protocol=Protocol.HTTP), Receiver.FAST, tmp_path, lambda message: message
    )
    over_grpc = {}

    def texts(message):
        response = service_pb2.ModelStreamInferResponse.FromString(message).infer_response
        named = zip(response.outputs, response.raw_output_contents, strict=True)
        return next((raw[4:].decode() for output, raw in named if output.name == "text_output"), "")

    over_grpc = messages(server, Receiver.FAST, tmp_path, texts)
    common = over_http.keys() & over_grpc.keys()

    assert len(common) >= 24
    for index in common:
        told = [json.loads(message) for message in over_http[index] if message != END]
        assert "".join(one["text_output"] for one in told) == "".join(over_grpc[index])


@pytest.mark.parametrize(
    ("receiver", "protocol"),
    [
        (Receiver.FAST, Protocol.GRPC),
        (Receiver.FAST, Protocol.HTTP),
        (Receiver.GRPC, Protocol.GRPC),
    ],
)
def test_stamps_hold_against_the_servers_own(receiver, protocol, tmp_path):
    """No token is lost, doubled or out of order, and none arrives before it was sent."""
    with serve_stamped(step_s=0.005, workdir=tmp_path) as server:
        found = calibrate_client(
            replace(server, protocol=protocol),
            Workload(concurrency=8, isl=4, osl=64),
            requests=16,
            receiver=receiver,
        )

    fidelity = found.fidelity
    assert found.faults == ()
    assert fidelity.tokens == fidelity.requests * 64
    assert (fidelity.lost, fidelity.doubled, fidelity.reordered) == (0, 0, 0)
    assert fidelity.lag.p50_s > 0
