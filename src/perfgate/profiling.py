"""A server under nsys, driven by a load for each phase: from an operating point to its capture.

What is written here is no measurement: no round is timed, nothing is stored that could be judged.
"""

from __future__ import annotations

import dataclasses
import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from perfgate import codec
from perfgate.errors import LoadError, RecordsError, UsageError
from perfgate.load.running import RunningLoad, prompts_needed
from perfgate.model import OperatingPoint, RequestStatus, Sampling, Server, Target, Workload
from perfgate.observe.kernels import Capture, Phase, PhaseCapture, parse_kernel_summary
from perfgate.observe.nsys import Nsys, ServerKind, find_nsys, run
from perfgate.provenance import fingerprint, wall_clock
from perfgate.rig import Observer, Rig
from perfgate.serving.process import tokenizer_of
from perfgate.serving.tokenizer import prompts
from perfgate.setting import Setting
from perfgate.trtllm import Runner

CAPTURE_FILE = "profile.json"
SCHEMA_VERSION = 1

_KINDS = {
    Target.TRT_ENGINE: ServerKind.TRITON_ENGINE,
    Target.LLMAPI: ServerKind.TRITON_LLMAPI,
}
_FAILED = (RequestStatus.ERROR, RequestStatus.DEADLINE)
_DECODE_ISL = 16
_DECODE_LENGTHENING = 4
_ROUND_TURNS = {Phase.PREFILL: 8, Phase.DECODE: 1}  # a prefill is short; a capture should not be


def profile(
    setting: Setting,
    point: OperatingPoint,
    phases: Sequence[Phase],
    *,
    output: Path,
    observer: Observer,
) -> Capture:
    """Boot the point's server under nsys, capture each phase and write it all to `output`.

    Raises UsageError for a target without kernels of its own, MissingRequirementError without
    nsys, ServerError or LoadError if server, nsys or load broke down.
    """
    kind = _KINDS.get(setting.target)
    if kind is None:
        rule = "only a server that perfgate boots on a GPU of this machine can be profiled"
        raise UsageError("--target", str(setting.target), rule)
    if setting.trtllm is not None and setting.trtllm.runner is Runner.DOCKER:
        rule = (
            "nsys would watch `docker`, not the server in the container: profile inside the"
            ' container, with runner = "local"'
        )
        raise UsageError("runner", str(setting.trtllm.runner), rule)
    nsys = Nsys(program=find_nsys(), session=f"perfgate-{secrets.token_hex(4)}")
    output.mkdir(parents=True, exist_ok=True)
    started_at = wall_clock()
    try:
        with Rig(setting, observer, under=nsys.launch(kind)) as rig:
            engine, server = rig.engine(point.engine), rig.server(point)
            tokenizer, gpu = tokenizer_of(engine, None), rig.gpu
            captured = tuple(
                _capture(nsys, server, tokenizer, point, phase, output=output, observer=observer)
                for phase in phases
            )
    finally:
        nsys.end()
    found = fingerprint(point, engine, setting.hardware, gpu)
    capture = Capture(
        point=point.id,
        target=setting.target,
        engine=engine.digest,
        started_at=started_at,
        identity=found.identity,
        phases=captured,
    )
    codec.write_atomic(output / CAPTURE_FILE, codec.to_pretty_json(capture))
    return capture


def phase_load(point: OperatingPoint, phase: Phase) -> Workload:
    """The load that shows one phase of a point's engine almost alone, at its concurrency.

    One output token makes a request all prefill; a short prompt and a long answer make it almost
    all decode, as long as the engine and the KV cache, for all clients at once, can hold.
    """
    load = point.workload
    if phase is Phase.PREFILL:
        return dataclasses.replace(load, osl=1)
    isl = min(_DECODE_ISL, load.isl)
    room = min(point.engine.max_seq_len, point.serving.kv_cache_tokens // load.concurrency)
    return dataclasses.replace(
        load, isl=isl, osl=max(1, min(_DECODE_LENGTHENING * load.osl, room - isl))
    )


def load_capture(folder: Path) -> Capture:
    """Read a stored capture; RecordsError says what to do if that is not possible."""
    path = folder / CAPTURE_FILE
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        msg = f"{path} does not exist. Name the --output folder of an earlier `perfgate profile`."
        raise RecordsError(msg) from error
    return codec.from_versioned_json(
        data, Capture, version=SCHEMA_VERSION, origin=str(path), if_older="Profile again"
    )


def _capture(
    nsys: Nsys,
    server: Server,
    tokenizer: Tokenizer,
    point: OperatingPoint,
    phase: Phase,
    *,
    output: Path,
    observer: Observer,
) -> PhaseCapture:
    load = phase_load(point, phase)
    requests = _ROUND_TURNS[phase] * load.concurrency
    report = output / f"{phase}.nsys-rep"
    observer.begin(f"capture {phase}")
    try:
        _drive(nsys, server, tokenizer, load, requests, report=report, observer=observer)
    finally:
        observer.end()
    summary = run(nsys.statistics(report))
    codec.write_atomic(output / f"{phase}.csv", summary.encode())
    return PhaseCapture(
        phase=phase,
        workload=load,
        requests=requests,
        kernels=parse_kernel_summary(summary, origin=str(report)),
    )


def _drive(
    nsys: Nsys,
    server: Server,
    tokenizer: Tokenizer,
    load: Workload,
    requests: int,
    *,
    report: Path,
    observer: Observer,
) -> None:
    # As many again: requests go on while nsys starts and while it writes its report.
    needed = prompts_needed(load, Sampling(rounds=2, round_requests=requests))
    texts = prompts(tokenizer, isl=load.isl, count=needed, seed=load.seed)
    with (
        tempfile.TemporaryDirectory(prefix="perfgate-") as spool,
        RunningLoad(
            server, load, texts, spool=Path(spool), on_progress=observer.advance
        ) as clients,
    ):
        clients.ramp_up()
        with nsys.collecting(report.resolve()):
            if passed := clients.completed - load.concurrency:
                clients.round(passed)  # while nsys started
            clients.round(requests)
            until_ns = time.perf_counter_ns()
        records = clients.finish().records
    # What befell the load while nsys wrote its report, such as prompts used up, is no fault here.
    failed = [one for one in records if one.status in _FAILED and one.finished_ns <= until_ns]
    if failed:
        msg = f"{len(failed)} requests failed under nsys, the first with: {failed[0].error}"
        raise LoadError(msg)
