"""Other load tools: their files read as a load of ours, and the tools run where there are some."""

from __future__ import annotations

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from perfgate.artifacts import load_measurements
from perfgate.cli import app
from perfgate.errors import LoadError, MissingRequirementError, UsageError
from perfgate.measure.measure import measure
from perfgate.model import (
    ArrivalProcess,
    Arrivals,
    Policy,
    Protocol,
    RequestStatus,
    Sampling,
    Server,
    SharedPrefix,
)
from perfgate.peers.drive import Driver, command, drive_with
from perfgate.peers.records import read_peer
from tests.unit.factories import a_point
from tests.unit.hardware_samples import lay_out_suite

pytestmark = pytest.mark.unit

POINT = replace(
    a_point(concurrency=2), workload=replace(a_point(concurrency=2).workload, osl=4, isl=8)
)
MS = 1_000_000
AT = "2026-01-02T03:04:05+00:00"
# What the tools wrote: genai-perf 0.0.16 with perf_analyzer 2.60.0 on the simulated Triton, aiperf
# 0.13.0 on the mocked server; 4 requests of 8 tokens in and 4 out at concurrency 2.
RECORDED = Path(__file__).with_name("peer_files")


def genai(requests=4, counts=None, concurrency=2):
    """perf_analyzer's export of requests that each take 4 tokens, 10 ms apart, and an empty end."""
    rows = []
    for number in range(requests):
        sent = number * 50 * MS
        texts = [{"text_output": f" t{place}"} for place in range(4)]
        if counts:
            texts = [{**text, "num_output_tokens": counts} for text in texts]
        rows.append(
            {
                "timestamp": sent,
                "request_inputs": {"text_input": "x"},
                "response_timestamps": [sent + (20 + 10 * place) * MS for place in range(5)],
                "response_outputs": [*texts, {"text_output": ""}],
            }
        )
    experiment = {"mode": "concurrency", "value": concurrency}
    return json.dumps(
        {"service_kind": "triton", "experiments": [{"experiment": experiment, "requests": rows}]}
    )


def aiperf(requests=4, tokens=4, phase="profiling", **more):
    """Aiperf's lines of such requests, with times in milliseconds as it writes them."""
    lines = []
    for number in range(requests):
        start = 1_700_000_000_000_000_000 + number * 50 * MS
        row = {
            "metadata": {
                "session_num": number,
                "request_start_ns": start,
                "request_end_ns": start + 55 * MS,
                "benchmark_phase": phase,
            },
            "metrics": {
                "time_to_first_token": {"value": 20.0, "unit": "ms"},
                "inter_chunk_latency": {"value": [10.0, 10.0, 10.0], "unit": "ms"},
                "output_sequence_length": {"value": tokens, "unit": "tokens"},
                "input_sequence_length": {"value": 8, "unit": "tokens"},
            },
            "error": None,
            **more,
        }
        lines.append(json.dumps(row))
    return "\n".join(lines)


def read(text, tmp_path, *, name="export", token_a_message=True):
    """The run that a file of this text holds."""
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return read_peer(path, POINT, "gb10", AT, token_a_message=token_a_message)


@pytest.mark.parametrize("text", [genai(), aiperf()], ids=["perf_analyzer", "aiperf"])
def test_both_tools_files_say_the_same_of_the_same_load(text, tmp_path):
    """Our formulas on their stamps: TTFT to the first text, latency to the last, gaps between.

    They count until the fourth request is sent: from there on it is alone.
    """
    run = read(text, tmp_path)
    found = measure(run, Policy())

    assert found.ttft_s.p50 == pytest.approx(0.020)
    assert found.latency_s.p50 == pytest.approx(0.050)
    assert found.tpot_s.p50 == found.itl_s.p50 == pytest.approx(0.010)
    assert found.output_tokens == 12
    assert found.request_rate_s == pytest.approx(2 / found.window_s)
    assert found.window_s == pytest.approx(0.150)
    assert found.audit is None
    assert {"rounds", "requests"} <= {veto.rule for veto in found.vetoes}
    assert not {veto.rule for veto in found.vetoes} & {"client-cpu", "client-lag", "late-sends"}


def test_one_request_a_client_is_a_window_too(tmp_path):
    """Where none ended before the last was sent, all of them count."""
    run = read(genai(requests=1), tmp_path)

    assert measure(run, Policy()).output_tokens == 4


@pytest.mark.parametrize(
    ("name", "output_tokens", "input_tokens"),
    [
        ("genai-perf.json", (1, 1, 1, 1), None),
        ("genai-perf-counted.json", (1, 1, 1, 1), 8),
        ("aiperf.jsonl", (1, 1, 1, 1), 8),
    ],
)
def test_what_the_tools_wrote_is_read(name, output_tokens, input_tokens):
    """Counts that the server was not asked for are absent, and its own go before the tool's."""
    run = read_peer(RECORDED / name, POINT, "gb10", AT, token_a_message=True)

    assert len(run.records) == 4
    assert {record.tokens for record in run.records} == {output_tokens}
    assert {record.input_tokens for record in run.records} == {input_tokens}
    assert all(record.counted for record in run.records)
    assert 0 < measure(run, Policy()).ttft_s.p50 < 0.1


def test_a_count_of_the_server_s_needs_nobody_to_vouch():
    """genai-perf asks for none of its own accord."""
    read_peer(RECORDED / "genai-perf-counted.json", POINT, "gb10", AT, token_a_message=False)
    with pytest.raises(UsageError, match="--token-a-message"):
        read_peer(RECORDED / "genai-perf.json", POINT, "gb10", AT, token_a_message=False)


def test_an_answer_that_aiperf_did_not_count_is_refused(tmp_path):
    """It was told to take the server's counts, and the server told none."""
    text = aiperf().replace("output_sequence_length", "request_latency")

    with pytest.raises(UsageError, match="the server told no usage"):
        read(text, tmp_path)


def test_what_the_server_counts_is_taken_over(tmp_path):
    """Where the export holds num_output_tokens nobody has to vouch for anything."""
    run = read(genai(counts=2), tmp_path, token_a_message=False)

    assert {record.tokens for record in run.records} == {(2, 2, 2, 2)}
    assert measure(run, Policy()).itl_s is None
    assert measure(run, Policy()).chunk_gap_s.p50 == pytest.approx(0.010)


def test_tokens_that_nobody_counted_are_not_made_up(tmp_path):
    """perf_analyzer's texts are no token counts; whoever knows may say so."""
    with pytest.raises(UsageError, match="--token-a-message"):
        read(genai(), tmp_path, token_a_message=False)


def test_more_tokens_than_chunks_are_spread_and_said_to_be(tmp_path):
    """Aiperf counts tokens by request, not by chunk."""
    run = read(aiperf(tokens=10), tmp_path)

    assert {(record.output_tokens, record.counted) for record in run.records} == {(10, False)}


def test_failed_and_warm_up_requests_are_told_apart(tmp_path):
    """An error is one of ours; a warm-up request is no part of the measurement."""
    failure = {"code": 500, "type": "Boom", "message": "out of memory"}
    text = "\n".join([aiperf(3), aiperf(1, error=failure, metrics={}), aiperf(2, phase="warmup")])
    run = read(text, tmp_path)

    assert len(run.records) == 4
    (failed,) = [one for one in run.records if one.status is RequestStatus.ERROR]
    assert failed.error == "Boom: out of memory"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{}", "it must be perf_analyzer's"),
        ("[1]", "it must be perf_analyzer's"),
        ("not json", "it must be perf_analyzer's"),
        ('{"request_latency": {"unit": "ms", "avg": 1}}', "Their summaries hold too little"),
        (genai(concurrency=3), "runs at concurrency 2; it holds concurrency 3"),
        (genai(requests=0), "a request that ended well"),
        (aiperf().replace('"ms"', '"fortnights"'), "it must be perf_analyzer's"),
    ],
)
def test_another_file_is_refused(text, words, tmp_path):
    """With the rule."""
    with pytest.raises(UsageError, match=words):
        read(text, tmp_path)


def test_an_imported_run_can_be_reported_and_judged(tmp_path, monkeypatch):
    """The command writes what every other command reads; the gate says why it cannot vouch."""
    lay_out_suite(tmp_path)
    monkeypatch.chdir(tmp_path)
    point = "fp8-b16-c16"
    text = genai(requests=80, concurrency=16)
    Path("export.json").write_text(text, encoding="utf-8")
    argv = ["import", "export.json", "--point", point, "--output", "out", "--token-a-message"]
    runner = CliRunner()
    done = runner.invoke(app, argv, catch_exceptions=False)
    judged = runner.invoke(app, ["judge", "out"])

    assert "perf_analyzer: 78 requests" in done.output
    (measurement,) = load_measurements(Path("out")).measurements
    assert measurement.fingerprint.identity["driver"] == "perf_analyzer"
    assert "INVALID" in judged.output
    assert runner.invoke(app, ["report", "out"]).exit_code == 0


SERVER = Server(
    grpc_url="127.0.0.1:8001", http_url="http://127.0.0.1:8000", metrics_url="", simulated=False
)
STAND_IN = """#!{python}
import pathlib, sys
argv = sys.argv
folder = pathlib.Path(argv[argv.index("--artifact-dir") + 1]) / "ensemble-concurrency2"
folder.mkdir(parents=True)
(folder / "argv").write_text(" ".join(argv[1:]))
if {status}:
    sys.exit("out of luck")
if {write}:
    (folder / {name!r}).write_text({text!r})
"""


def install(folder, monkeypatch, driver, text, *, status=0, write=True):
    """Put a stand-in for the tool on the path."""
    name = "profile_export.jsonl" if driver is Driver.AIPERF else "profile_export.json"
    program = folder / driver
    program.write_text(
        STAND_IN.format(python=sys.executable, status=status, write=write, name=name, text=text),
        encoding="utf-8",
    )
    program.chmod(0o755)
    shutil.copy(program, folder / "perf_analyzer")  # what genai-perf runs
    monkeypatch.setenv("PATH", str(folder))


def driven(driver, server, tmp_path):
    """The run that a tool brings."""
    return drive_with(
        driver,
        server,
        POINT,
        tokenizer="gpt2",
        folder=tmp_path / "out",
        hardware="gb10",
        started_at=AT,
    )


@pytest.mark.parametrize(
    ("driver", "protocol", "text"),
    [
        (Driver.GENAI_PERF, Protocol.GRPC, genai()),
        (Driver.GENAI_PERF, Protocol.OPENAI, genai()),
        (Driver.AIPERF, Protocol.OPENAI, aiperf()),
    ],
)
def test_a_tool_is_asked_for_the_point_s_load(driver, protocol, text, tmp_path, monkeypatch):
    """It gets concurrency, lengths and requests; its own file is what is read."""
    install(tmp_path, monkeypatch, driver, text)
    run = driven(driver, replace(SERVER, protocol=protocol), tmp_path)
    asked = next((tmp_path / "out").rglob("argv")).read_text().split()

    assert len(run.records) == 4
    assert asked[0] == "profile"
    for option, value in (
        ("--concurrency", "2"),
        ("--request-count", "322"),  # 4 rounds of 80, and one that keeps each client busy
        ("--output-tokens-mean", "4"),
        ("--synthetic-input-tokens-mean", "8"),
        ("--model", "ensemble"),
    ):
        assert asked[asked.index(option) + 1] == value


def test_every_client_is_asked_for_as_many_requests(tmp_path):
    """Otherwise some end before the others, and the load is a smaller one."""
    point = replace(POINT, sampling=Sampling(rounds=1, round_requests=5))
    argv = command(Driver.GENAI_PERF, SERVER, point, tokenizer="x", folder=tmp_path)

    assert argv[argv.index("--request-count") + 1] == "8"


@pytest.mark.parametrize(
    ("driver", "server", "options"),
    [
        (Driver.GENAI_PERF, SERVER, {"return_num_output_tokens:true", "min_tokens:4"}),
        (Driver.GENAI_PERF, SERVER, {"return_num_input_tokens:true"}),
        (Driver.AIPERF, replace(SERVER, protocol=Protocol.OPENAI), {"--use-server-token-count"}),
    ],
)
def test_the_server_is_asked_to_count(driver, server, options, tmp_path):
    """A tool's own count is of the text, tokenised again: another number than was sent."""
    argv = command(driver, server, POINT, tokenizer="x", folder=tmp_path)

    assert options <= set(argv)


@pytest.mark.parametrize(
    ("options", "words"),
    [({"status": 3}, "out of luck"), ({"write": False}, "wrote 0 files profile_export.json")],
)
def test_a_tool_that_fails_is_quoted(options, words, tmp_path, monkeypatch):
    """Its last words, or that it left nothing."""
    install(tmp_path, monkeypatch, Driver.GENAI_PERF, genai(), **options)

    with pytest.raises(LoadError, match=words):
        driven(Driver.GENAI_PERF, SERVER, tmp_path)


def test_a_tool_that_is_not_there_is_named(tmp_path, monkeypatch):
    """With the way to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(MissingRequirementError, match="pip install aiperf"):
        driven(Driver.AIPERF, replace(SERVER, protocol=Protocol.OPENAI), tmp_path)


def test_genai_perf_without_perf_analyzer_is_told_apart(tmp_path, monkeypatch):
    """Pip installs an empty package of that name: the program is another matter."""
    install(tmp_path, monkeypatch, Driver.GENAI_PERF, genai())
    (tmp_path / "perf_analyzer").unlink()

    with pytest.raises(MissingRequirementError, match="runs perf_analyzer"):
        driven(Driver.GENAI_PERF, SERVER, tmp_path)


@pytest.mark.parametrize(
    ("driver", "protocol"),
    [(Driver.AIPERF, Protocol.GRPC), (Driver.GENAI_PERF, Protocol.HTTP)],
)
def test_a_protocol_the_tool_does_not_speak_is_refused(driver, protocol, tmp_path):
    """Before anything is run."""
    point = replace(POINT, sampling=Sampling(rounds=1, round_requests=1))
    with pytest.raises(UsageError, match="genai-perf speaks to Triton over grpc"):
        command(driver, replace(SERVER, protocol=protocol), point, tokenizer="x", folder=tmp_path)


@pytest.mark.parametrize(
    "shape",
    [
        {"arrivals": Arrivals(process=ArrivalProcess.POISSON, requests_per_s=1.0)},
        {"prefix": SharedPrefix(share=0.5)},
    ],
    ids=["arrivals", "prefix"],
)
def test_a_load_of_another_shape_is_refused(shape, tmp_path):
    """It would be measured as the closed loop that it is not."""
    point = replace(POINT, workload=replace(POINT.workload, **shape))
    with pytest.raises(UsageError, match="closed loops of equal requests"):
        command(Driver.GENAI_PERF, SERVER, point, tokenizer="x", folder=tmp_path)
