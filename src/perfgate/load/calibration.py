"""The load client's own error on this machine, measured against a server that stamps its tokens."""

from __future__ import annotations

import json
import struct
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tritonclient.grpc import service_pb2

from perfgate.load.fidelity import Fidelity, StampedStream, judge_stamps
from perfgate.load.openai import DONE
from perfgate.load.planner import prompts_needed
from perfgate.load.running import RunningLoad
from perfgate.load.spool import Ending, Exchange, Receiver
from perfgate.load.wire import END
from perfgate.model import ClientAudit, Protocol, Sampling, Server, Workload

_TEXT = "text_output"


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """One load on a stamping server: what the client got wrong, and what it cost.

    `tok_s` is of the measured rounds, `cpu_us_per_token` of the client's process alone.
    """

    receiver: Receiver
    protocol: Protocol
    concurrency: int
    tok_s: float
    cpu_us_per_token: float
    fidelity: Fidelity
    audit: ClientAudit
    faults: tuple[str, ...]


def calibrate_client(
    server: Server, workload: Workload, *, requests: int, receiver: Receiver = Receiver.FAST
) -> Calibration:
    """Drive a stamping server with `requests` requests after the ramp.

    Raises NoSamplesError if nothing arrived, LoadError if the load could not go on.
    """
    streams: list[StampedStream] = []

    def keep(exchange: Exchange) -> None:
        if exchange.ending is Ending.FINAL and exchange.index >= workload.concurrency:
            streams.append(read_stamps(exchange, server.protocol, asked=workload.osl))

    count = prompts_needed(workload, Sampling(rounds=1, round_requests=requests))
    texts = [f"prompt {number}" for number in range(count)]
    with (
        tempfile.TemporaryDirectory(prefix="perfgate-audit-") as folder,
        RunningLoad(
            server, workload, texts, spool=Path(folder), receiver=receiver, on_exchange=keep
        ) as load,
    ):
        load.ramp_up()
        load.round(requests)
        outcome = load.finish()
    audit = outcome.audit
    return Calibration(
        receiver=receiver,
        protocol=server.protocol,
        concurrency=workload.concurrency,
        tok_s=audit.messages / audit.wall_s,
        cpu_us_per_token=1e6 * audit.cpu_s / max(1, audit.messages),
        fidelity=judge_stamps(streams),
        audit=audit,
        faults=outcome.faults,
    )


def read_stamps(exchange: Exchange, protocol: Protocol, *, asked: int) -> StampedStream:
    """Read the server's stamps out of an exchange's messages."""
    sent_ns: list[int] = []
    came_ns = 0
    arrived_ns: list[int] = []
    numbers: list[int] = []
    for stamp_ns, message in zip(exchange.stamps_ns, exchange.messages, strict=True):
        for text in _texts(message, protocol):
            token_ns, came_ns, number = map(int, text.split())
            sent_ns.append(token_ns)
            arrived_ns.append(stamp_ns)
            numbers.append(number)
    return StampedStream(
        asked=asked,
        request_sent_ns=exchange.sent_ns,
        request_came_ns=came_ns,
        sent_ns=tuple(sent_ns),
        arrived_ns=tuple(arrived_ns),
        numbers=tuple(numbers),
    )


def _texts(message: bytes, protocol: Protocol) -> Iterator[bytes]:
    if protocol is not Protocol.GRPC:
        if message not in {END, DONE}:
            event = json.loads(message)
            texts = event.get("choices", [{"text": event.get(_TEXT)}])
            yield from (one["text"].encode() for one in texts)
        return
    response = service_pb2.ModelStreamInferResponse.FromString(message).infer_response
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.name == _TEXT:
            (length,) = struct.unpack_from("<I", raw)
            yield raw[4 : 4 + length]
