"""What a million tokens cost after the run: parse time a token, and memory from spool to verdict.

The spool is written by one process and read by another, as the worker and its parent do, with the
messages of TensorRT-LLM's ensemble. Exit 1 if a token takes more than 5 us or memory 500 MB.
"""

from __future__ import annotations

import resource
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from tritonclient.grpc import service_pb2

from perfgate.load.audit import audit_client
from perfgate.load.parser import parse_exchange, read_grpc, settle_counts
from perfgate.load.spool import Beat, Beats, End, Ending, Exchange, SpoolReader, SpoolWriter
from perfgate.measure.measure import measure
from perfgate.model import Fingerprint, LoadRun, RequestRecord, Target
from perfgate.records import write_run
from perfgate.suite import load_suite
from perfgate.traffic.rounds import find_marks

OSL = 128
TOKENS = 1_000_000
MOST_US = 5.0
MOST_MB = 500.0
GAP_NS = 50_000_000


def parse_run(tokens: int = TOKENS) -> int:
    """Write a spool of `tokens` tokens, then read it in a fresh process; tell what that took."""
    with tempfile.TemporaryDirectory(prefix="perfgate-parse-") as folder:
        path = Path(folder) / "spool"
        write_spool(path, tokens)
        done = subprocess.run([sys.executable, __file__, str(path)], check=False)
    return done.returncode


def write_spool(path: Path, tokens: int) -> None:
    """What a worker leaves behind, beats included."""
    spool = SpoolWriter(path)
    for index in range(-(-tokens // OSL)):
        due_ns = index * 40_000_000
        stamps = [due_ns + GAP_NS * (number + 1) for number in range(OSL)]
        spool.write(
            Exchange(
                index=index,
                client=index % 160,
                due_ns=due_ns,
                sent_ns=due_ns + 100_000,
                finished_ns=stamps[-1] + 1000,
                ending=Ending.FINAL,
                stamps_ns=[*stamps, stamps[-1] + 1000],
                messages=[*(message(index, number) for number in range(OSL)), last(index)],
            )
        )
        beat = Beat(at_ns=due_ns, lag_ns=100_000, cpu_ns=due_ns // 10, involuntary_switches=0)
        spool.write(Beats([beat] * 8))
    spool.write(End([]))
    spool.close()


def message(index: int, number: int) -> bytes:
    """One token, as the ensemble sends it."""
    response = service_pb2.ModelInferResponse(model_name="ensemble", id=str(index))
    response.parameters["triton_final_response"].bool_param = False
    text = f" token{number}".encode()
    add(response, "text_output", "BYTES", struct.pack("<I", len(text)) + text)
    add(response, "num_output_tokens", "INT32", struct.pack("<i", 1))
    return envelope(response)


def last(index: int) -> bytes:
    """The empty final response with the engine's stamps."""
    response = service_pb2.ModelInferResponse(model_name="ensemble", id=str(index))
    response.parameters["triton_final_response"].bool_param = True
    for name in ("arrival", "first_scheduled", "first_token", "last_token"):
        add(response, f"{name}_time_ns", "INT64", struct.pack("<q", 1_000_000 + index))
    return envelope(response)


def add(response: service_pb2.ModelInferResponse, name: str, datatype: str, raw: bytes) -> None:
    """One output tensor."""
    response.outputs.add(name=name, datatype=datatype, shape=[1, 1])
    response.raw_output_contents.append(raw)


def envelope(response: service_pb2.ModelInferResponse) -> bytes:
    """The message as it comes off the wire."""
    whole = service_pb2.ModelStreamInferResponse(infer_response=response)
    encoded: bytes = whole.SerializeToString()
    return encoded


def read(path: Path) -> int:
    """Parse, measure and store the run as the rig does, and tell time and memory."""
    started_s = time.process_time()
    beats: list[Beat] = []
    records = []
    for frame in SpoolReader(path):
        match frame:
            case Exchange():
                records.append(parse_exchange(frame, OSL, read_grpc))
            case Beats():
                beats.extend(frame.beats)
    settled = settle_counts(records)
    parse_s = time.process_time() - started_s
    tokens = sum(record.output_tokens for record in settled)
    parsed_mb = peak_mb()
    store_and_measure(path.parent, settled, beats)
    us, mb = parse_s * 1e6 / tokens, peak_mb()
    print(
        f"{tokens} tokens: parse {us:.2f} us CPU a token (at most {MOST_US:g}); peak memory"
        f" {parsed_mb:.0f} MB parsed, {mb:.0f} MB stored and measured (at most {MOST_MB:g})"
    )
    return 0 if us <= MOST_US and mb <= MOST_MB else 1


def store_and_measure(folder: Path, records: tuple[RequestRecord, ...], beats: list[Beat]) -> None:
    """What comes after parsing: marks, the client's audit, the file of records, the metrics."""
    suite = load_suite(Path(__file__).parents[1])
    point = suite.point("fp8-b192-c160")
    sampling = replace(point.sampling, rounds=4, round_requests=len(records) // 5)
    marks_ns = find_marks(records, 160, [sampling.round_requests] * 4)
    run = LoadRun(
        point=replace(point, sampling=sampling),
        fingerprint=Fingerprint(hardware="gb10-sim", target=Target.SIM, simulated=True),
        started_at="",
        marks_ns=marks_ns,
        records=records,
        audit=audit_client(records, beats, (marks_ns[0], marks_ns[-1])),
    )
    write_run(folder, run)
    measure(run, suite.policy)


def peak_mb() -> float:
    """The most memory this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


if __name__ == "__main__":
    sys.exit(read(Path(sys.argv[1])))
