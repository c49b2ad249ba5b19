"""The gate on the reference engine: its noise, A/A jobs, and jobs whose candidate is truly slower.

    python benchmarks/reference_ab.py calibrate OUT   boots x windows, and what they scatter
    python benchmarks/reference_ab.py jobs OUT        A/A and planted jobs in turn until time is up
    python benchmarks/reference_ab.py summary FILE... judge stored jobs again, count verdicts

Run it in the folder of the suite whose point is meant. The planted candidate has `--extra`
layers more: it reads and computes more in each step; nothing sleeps and no number is changed.
`--way triton` is what `pytest -m perf --base` does: each start is a fresh Triton with the load
client in front of it. `--way process` leaves both out: each start is a fresh process with its own
CUDA context, weights and graphs, and the clients live inside. All starts are kept in
`OUT/jobs.json`.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from perfgate import calibration, codec
from perfgate.calibrate import Steps, measure_session, with_session
from perfgate.errors import PerfGateError, ServerError
from perfgate.gate.paired_judgement import judge_pairs
from perfgate.gate.pairing import Arm, Go, next_step
from perfgate.hardware import load_profile
from perfgate.measure.measure import measure
from perfgate.model import (
    ClientAudit,
    Fingerprint,
    LoadRun,
    Measurement,
    OperatingPoint,
    PairedPolicy,
    RequestRecord,
    RequestStatus,
    Sampling,
    Target,
)
from perfgate.paired import PAIRS, Measuring, PairsFile, plan_of, rules_of, run_pairs
from perfgate.provenance import wall_clock
from perfgate.records import read_run, write_run
from perfgate.rig import Rig
from perfgate.serving.tokenizer import VOCAB_SIZE
from perfgate.setting import Setting
from perfgate.sim.steps import Emission, SimRequest
from perfgate.suite import load_suite
from perfgate.traffic.schedule import plan_schedule

SEED = 1
METRICS = ("throughput_tok_s", "tpot_p50_s")
JOBS = "jobs.json"


class OutOfTimeError(Exception):
    """The time is up in the middle of a job."""


def main() -> None:
    """Run one command."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("out", type=Path, nargs="+")
    parser.add_argument("--hardware", default="h100")
    parser.add_argument("--point", default="fp16-b16-c16")
    parser.add_argument("--way", choices=("triton", "process"), default="triton")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--round-requests", type=int, default=16)
    parser.add_argument("--ramp", type=int, default=1)
    parser.add_argument("--boots", type=int, default=8)
    parser.add_argument("--windows", type=int, default=2)
    parser.add_argument("--extra", type=int, default=2, help="layers more in a planted candidate")
    parser.add_argument("--first", choices=("same", "planted"), default="same")
    parser.add_argument("--budget-minutes", type=float, default=6.0)
    parser.add_argument("--seconds", type=float, default=600.0, help="no job goes on after that")
    options = parser.parse_args()
    options.began = time.monotonic()
    if options.command != "summary":
        (options.out,) = options.out
        options.out.mkdir(parents=True, exist_ok=True)
    COMMANDS[options.command](options)


# --- The commands -------------------------------------------------------------------------------


def calibrate(options: argparse.Namespace) -> None:
    """Measure one session of boots and add it to the calibration in OUT."""
    path = options.out / calibration.FILE
    with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
        setting = setting_of(options, 0, Path(folder))
        session = measure_session(
            policy_of(options),
            [point_of(setting, options)],
            lambda number: opened(setting, options, number),
            boots=options.boots,
            windows=options.windows,
            say=told,
        )
    minutes = (time.monotonic() - options.began) / 60 / options.boots
    earlier = calibration.load(path) if path.exists() else None
    known = with_session(setting.hardware, earlier, session, minutes, measured_at=wall_clock())
    calibration.save(path, known)
    told(f"{known.pair_sd} {known.components}")


def jobs(options: argparse.Namespace) -> None:
    """Run jobs, A/A and planted in turn, until the time is up."""
    known = calibration.load(options.out / calibration.FILE)
    plan = plan_of(policy_of(options), known)
    path = options.out / JOBS
    kept: list[dict[str, Any]] = json.loads(path.read_text()) if path.exists() else []
    while time.monotonic() - options.began < options.seconds:
        extra = options.extra if len(kept) % 2 == (options.first == "same") else 0
        with tempfile.TemporaryDirectory(prefix="perfgate-ab-") as folder:
            verdict = one_job(options, plan, extra, Path(folder))
            stored = json.loads((Path(folder) / PAIRS).read_bytes())
        kept.append(
            {
                "planted": f"{extra} layers more" if extra else "nothing",
                "way": options.way,
                "device": device_name(),
                "verdict": verdict,
            }
            | {"at": wall_clock(), "pairs": stored}
        )
        path.write_text(json.dumps(kept), encoding="utf-8")


def one_job(options: argparse.Namespace, plan: Any, extra: int, folder: Path) -> str:
    """Run one job; its verdict, or that the time was up."""
    settings = {
        Arm.BASE: setting_of(options, 0, folder / "base"),
        Arm.CANDIDATE: setting_of(options, extra, folder / "candidate"),
    }
    points = {arm: {options.point: point_of(one, options)} for arm, one in settings.items()}

    def open_rig(arm: Arm, number: int) -> Any:
        if time.monotonic() - options.began > options.seconds:
            raise OutOfTimeError
        return opened(settings[arm], options, number)

    base = f"the same engine; the candidate has {extra} more layers"
    try:
        judged = run_pairs(plan, points, open_rig, base=base, artifacts=folder)
    except OutOfTimeError:
        return "cut off"
    told(f"+{extra} layers: {judged.verdict}")
    return str(judged.verdict)


def summary(options: argparse.Namespace) -> None:
    """Judge every stored job again and count the verdicts; print what the starts scatter."""
    for path in options.out:
        counts: dict[str, Counter[str]] = {}
        for job in json.loads(path.read_text(encoding="utf-8")):
            kind = f"{job['way']}, planted: {job['planted']}"
            counts.setdefault(kind, Counter())[judged_again(job)] += 1
        for kind, verdicts in sorted(counts.items()):
            print(f"{path}: {kind}: {verdicts.total()} jobs, {dict(verdicts)}")


def judged_again(job: dict[str, Any]) -> str:
    """The verdict of a stored job by today's gate."""
    content = codec.from_json(json.dumps(job["pairs"]).encode(), PairsFile, origin=JOBS)
    rules = rules_of(content.plan)
    step = next_step(content.plan, rules, content.history)
    if isinstance(step, Go):
        return "cut off"
    return str(judge_pairs(content.plan, rules, content.history, step, records=JOBS).verdict)


# --- What they share ----------------------------------------------------------------------------


def told(line: str) -> None:
    """Print at once."""
    print(line, flush=True)


def device_of(options: argparse.Namespace) -> str:
    """Where PyTorch computes."""
    return "cpu" if options.hardware == "cpu" else "cuda"


def device_name() -> str:
    """Which of the machine's devices this lane has."""
    return f"GPU {os.environ.get('CUDA_VISIBLE_DEVICES', '')}, {len(os.sched_getaffinity(0))} cores"


def policy_of(options: argparse.Namespace) -> PairedPolicy:
    """Two primary cells of the point."""
    cells = tuple(f"{options.point}:{metric}" for metric in METRICS)
    return PairedPolicy(primary=cells, budget_minutes=options.budget_minutes)


def setting_of(options: argparse.Namespace, extra: int, artifacts: Path) -> Setting:
    """This folder's suite on the reference engine, its model with so many layers more."""
    profile = load_profile(Path.cwd() / "hardware" / f"{options.hardware}.toml")
    simulation = profile.require_simulation()
    model = dataclasses.replace(simulation.model, layers=simulation.model.layers + extra)
    simulation = dataclasses.replace(simulation, model=model)
    return Setting(
        suite=load_suite(Path.cwd()),
        target=Target.REFERENCE,
        profile=dataclasses.replace(profile, simulation=simulation),
        artifacts=artifacts,
    )


def point_of(setting: Setting, options: argparse.Namespace) -> OperatingPoint:
    """The point with the sampling asked for."""
    sampling = Sampling(
        rounds=options.rounds, round_requests=options.round_requests, ramp=options.ramp
    )
    return dataclasses.replace(setting.suite.point(options.point), sampling=sampling)


@contextmanager
def opened(setting: Setting, options: argparse.Namespace, number: int) -> Iterator[Measuring]:
    """One start, behind Triton or without."""
    own = dataclasses.replace(setting, artifacts=setting.artifacts / f"{number:02d}")
    way = Rig(own, Steps(told)) if options.way == "triton" else ProcessRig(own, device_of(options))
    with way as rig:
        yield Telling(rig)


@dataclasses.dataclass
class Telling:
    """A rig that prints what it measured, and how long the start took."""

    rig: Measuring
    began: float = dataclasses.field(default_factory=time.monotonic)

    def measure(self, point: OperatingPoint) -> Measurement:
        """Measure and tell."""
        one = self.rig.measure(point)
        vetoes = "; ".join(veto.message for veto in one.vetoes)
        seconds = time.monotonic() - self.began
        told(f"  {point.id} {one.throughput_tok_s:.1f} tok/s, {seconds:.1f} s {vetoes}")
        return one


# --- Without Triton -----------------------------------------------------------------------------


class ProcessRig:
    """Measures in a fresh process: engine and clients, no server.

    PyTorch is imported before the process is forked, everything of the device after it.
    """

    def __init__(self, setting: Setting, device: str) -> None:
        self._setting = setting
        self._device = device
        self._child = 0

    def __enter__(self) -> Self:
        """Start nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let the process end."""
        if self._child:
            self._asks.close()
            self._answers.close()
            os.waitpid(self._child, 0)

    def measure(self, point: OperatingPoint) -> Measurement:
        """Measure the point in the process, which starts with the first one."""
        if not self._child:
            self._fork()
        self._asks.write(codec.to_json(point) + b"\n")
        self._asks.flush()
        line = self._answers.readline()
        if not line:
            raise ServerError("the engine's process ended")
        path = Path(line.decode().strip())
        return measure(read_run(path), self._setting.suite.policy, records=str(path))

    def _fork(self) -> None:
        import perfgate.reference.load  # noqa: F401, PLC0415 - imports PyTorch once for all starts

        (asks_r, asks_w), (answers_r, answers_w) = os.pipe(), os.pipe()
        child = os.fork()
        if child:
            os.close(asks_r)
            os.close(answers_w)
            self._asks, self._answers = os.fdopen(asks_w, "wb"), os.fdopen(answers_r, "rb")
            self._child = child
            return
        status = 1
        try:
            os.close(asks_w)
            os.close(answers_r)
            with os.fdopen(asks_r, "rb") as asks, os.fdopen(answers_w, "wb") as answers:
                serve(self._setting, self._device, asks, answers)
            status = 0
        finally:
            os._exit(status)


def serve(setting: Setting, device: str, asks: Any, answers: Any) -> None:
    """The forked process: load on the first question, then answer each with a run's file."""
    import torch  # noqa: PLC0415

    from perfgate.reference.load import load_engine  # noqa: PLC0415

    torch.set_num_threads(1)
    sys.setswitchinterval(0.0005)
    clients: list[Clients] = []
    engine = None
    for line in asks:
        point = codec.from_json(line, OperatingPoint, origin="point")
        if engine is None:
            engine, _ = load_engine(
                setting.profile.require_simulation(),
                point.engine,
                point.serving,
                vocab=VOCAB_SIZE,
                device=device,
                seed=SEED,
                emit=lambda emissions: clients[-1].take(emissions),  # noqa: PLW0108 - not the same
            )
            engine.start()
        clients.append(Clients(point, engine))
        run = clients[-1].run(setting)
        answers.write(f"{write_run(setting.records, run)}\n".encode())
        answers.flush()


class Clients:
    """A closed loop inside the engine's process: what `perfgate.load` plans, without its client."""

    def __init__(self, point: OperatingPoint, engine: Any) -> None:
        self._point = point
        self._engine = engine
        sampling, load = point.sampling, point.workload
        self._ramp = sampling.ramp * load.concurrency
        self._wanted = self._ramp + sampling.rounds * sampling.round_requests
        self._lengths = plan_schedule(load, self._wanted + 2 * load.concurrency).osl
        draw = random.Random(load.seed)  # noqa: S311 - prompts
        self._prompts = [draw.choices(range(VOCAB_SIZE), k=load.isl) for _ in self._lengths]
        self._flights: dict[int, tuple[int, int, int, list[int], list[int]]] = {}
        self._records: list[RequestRecord] = []
        self._ends_ns: list[int] = []
        self._ended = [0] * load.concurrency
        self._ramped = 0
        self._sent = 0

    def run(self, setting: Setting) -> LoadRun:
        """Drive the load to its end, let the requests in flight end, and record all of them."""
        started_at = wall_clock()
        # Ids go on from load to load: the engine knows the earlier ones no more.
        self._first_id = time.monotonic_ns()
        for client in range(self._point.workload.concurrency):
            self._send(client)
        limit = time.monotonic() + 120
        while self._flights:
            if time.monotonic() > limit:
                raise PerfGateError("the load did not end in 120 s")
            time.sleep(0.01)
        sampling = self._point.sampling
        marks = range(0, sampling.rounds * sampling.round_requests + 1, sampling.round_requests)
        return LoadRun(
            point=self._point,
            fingerprint=Fingerprint(
                hardware=setting.hardware, target=Target.REFERENCE, simulated=False
            ),
            started_at=started_at,
            marks_ns=tuple(self._ends_ns[mark] for mark in marks),
            records=tuple(sorted(self._records, key=lambda record: record.index)),
            audit=ClientAudit(
                cpu_s=0.0,
                wall_s=(self._ends_ns[-1] - self._ends_ns[0]) / 1e9,
                messages=0,
                lag_p99_s=0.0,
                lag_max_s=0.0,
                late_sends=0,
                involuntary_switches=0,
            ),
        )

    def take(self, emissions: list[Emission]) -> None:
        """An iteration's tokens; runs on the engine's thread."""
        now = time.perf_counter_ns()
        for emission in emissions:
            _, _, _, arrivals, tokens = self._flights[emission.request_id]
            if emission.tokens:
                arrivals.append(now)
                tokens.append(len(emission.tokens))
            if emission.final:
                self._end(emission.request_id, now)

    def _send(self, client: int) -> None:
        index = self._sent
        self._sent += 1
        now = time.perf_counter_ns()
        request_id = self._first_id + index
        self._flights[request_id] = (index, client, now, [], [])
        prompt, length = self._prompts[index], self._lengths[index]
        request = SimRequest(id=request_id, prompt_tokens=len(prompt), max_tokens=length)
        self._engine.submit(request, prompt)

    def _end(self, request_id: int, now: int) -> None:
        index, client, sent, arrivals, tokens = self._flights[request_id]
        self._records.append(
            RequestRecord(
                index=index,
                client=client,
                due_ns=sent,
                sent_ns=sent,
                finished_ns=now,
                status=RequestStatus.OK,
                arrivals_ns=tuple(arrivals),
                tokens=tuple(tokens),
                expected_output_tokens=self._lengths[index],
            )
        )
        self._ended[client] += 1
        if self._ramped < self._point.workload.concurrency:
            # The ramp is over when the last client has ended its share of it.
            self._ramped += self._ended[client] == self._point.sampling.ramp
            self._ends_ns = [now]
        else:
            self._ends_ns.append(now)
        wanted = self._wanted - self._ramp
        if len(self._ends_ns) <= wanted:
            self._send(client)
        del self._flights[request_id]


COMMANDS = {"calibrate": calibrate, "jobs": jobs, "summary": summary}

if __name__ == "__main__":
    main()
