"""The reference engine on a GPU, measured without Triton: correctness, ceilings, steps, points.

    python benchmarks/reference_gpu.py check OUT      # ceilings, kernel and FP8 against FP16
    python benchmarks/reference_gpu.py steps OUT      # single iterations by CUDA events
    python benchmarks/reference_gpu.py points OUT     # closed loops over points.toml
    python benchmarks/reference_gpu.py boots OUT --boots 10 --planted 0.05
                                                      # A and B in turn, B slowed

Needs PyTorch with CUDA, and perfgate on PYTHONPATH. Each command writes one JSON file into OUT.
Nothing of the card is changed: it is measured as it is found, and its clocks, power and throttle
reasons are recorded beside the numbers.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import random
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from perfgate.hardware import HardwareProfile, load_profile
from perfgate.model import EngineSpec, OperatingPoint, Precision, ServingSpec, Workload
from perfgate.reference import attention, attention_kernel
from perfgate.reference.batch import Packed
from perfgate.reference.decoder import Decoder, Inputs
from perfgate.reference.load import load_decoder, load_engine
from perfgate.reference.runner import Runner
from perfgate.serving.tokenizer import VOCAB_SIZE
from perfgate.sim.steps import Emission, SimRequest
from perfgate.suite import load_suite
from perfgate.traffic.schedule import plan_schedule

ROOT = Path(__file__).parents[1]
SEED = 1
Record = dict[str, Any]


def main() -> None:
    """Run one command and write what it found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("out", type=Path)
    parser.add_argument("--hardware", default="h100")
    parser.add_argument("--points", nargs="*", default=list(POINTS))
    parser.add_argument("--window-s", type=float, default=4.0)
    parser.add_argument("--windows", type=int, default=4)
    parser.add_argument("--boots", type=int, default=10)
    parser.add_argument("--planted", type=float, default=0.05)
    parser.add_argument("--factor", type=float, default=1.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    with telemetry() as samples:
        found = COMMANDS[options.command](options)
    found |= {"device": device(), "torch": torch.__version__, "telemetry": summed(samples)}
    path = options.out / f"{options.command}.json"
    path.write_text(json.dumps(found, indent=1), encoding="utf-8")
    print(f"wrote {path}", flush=True)


# --- Correctness and ceilings -------------------------------------------------------------------


def check(options: argparse.Namespace) -> Record:
    """What the card reaches at best, and whether the engine computes what it should."""
    found: Record = {"ceilings": ceilings(), "kernel": kernel_error()}
    print(found, flush=True)
    found["fp8_against_fp16"] = precision_error(profile(options))
    print(found["fp8_against_fp16"], flush=True)
    return found


def ceilings() -> Record:
    """Copy bandwidth (bytes read and written) and the rate of large matrix products."""
    one = torch.empty(2**31, dtype=torch.uint8, device="cuda").random_()
    other = torch.empty_like(one)
    copy_s = timed(lambda: other.copy_(one))
    read_s = timed(lambda: one.view(torch.int64).sum())
    n = 8192
    a, b = (torch.randn(n, n, device="cuda", dtype=torch.float16) for _ in range(2))
    fp16_s = timed(lambda: a @ b.t())
    a8, b8 = a.to(torch.float8_e4m3fn), b.to(torch.float8_e4m3fn)
    scale = torch.ones((), device="cuda")
    fp8_s = timed(lambda: scaled(a8, b8, scale))
    return {
        "copy_bytes_per_s": 2 * one.numel() / copy_s,
        "read_bytes_per_s": one.numel() / read_s,
        "fp16_flops": 2 * n**3 / fp16_s,
        "fp8_flops": 2 * n**3 / fp8_s,
    }


def scaled(a: torch.Tensor, b: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """One FP8 product with the options of the engine's."""
    return torch._scaled_mm(  # noqa: SLF001 - see perfgate.reference.linear
        a, b.t(), scale_a=scale, scale_b=scale, out_dtype=torch.float16, use_fast_accum=True
    )


def kernel_error() -> Record:
    """Relative error of the attention kernel against plain PyTorch in float32, fresh inputs."""
    errors: Record = {}
    for name, dtype in (("fp16", torch.float16), ("fp8", torch.float8_e4m3fn)):
        shape = (300, 32, 8, 128)
        keys, values = (
            torch.randn(shape, device="cuda", dtype=torch.float16).to(dtype) for _ in range(2)
        )
        tables = torch.randperm(300, device="cuda")[:256].view(8, 32).to(torch.int32)
        positions = torch.randint(0, 1024, (96,), device="cuda", dtype=torch.int32)
        sequences = torch.randint(0, 8, (96,), device="cuda", dtype=torch.int32)
        query = torch.randn(96, 32, 128, device="cuda", dtype=torch.float16)
        given = (query, keys, values, tables, sequences, positions)
        right = attention.paged_attention(*given).float()
        got = attention_kernel.paged_attention(*given).float()
        errors[name] = float((got - right).norm() / right.norm())
        errors[f"{name}_store"] = store_error(keys)
    return errors


def store_error(cache: torch.Tensor) -> float:
    """Largest difference of what both implementations store and return, in the cache's units."""
    qkv = torch.randn(96, 48 * 128, device="cuda", dtype=torch.float16)
    cos, sin = torch.rand(2, 1024, 64, device="cuda")
    positions = torch.randint(0, 1024, (96,), device="cuda", dtype=torch.int32)
    slots = torch.randperm(300 * 32, device="cuda")[:96]
    found = []
    for module in (attention, attention_kernel):
        keys, values = torch.zeros_like(cache), torch.zeros_like(cache)
        query = module.rotate_and_store(qkv, cos, sin, positions, slots, keys, values)
        found.append([x.float() for x in (query, keys, values)])
    return max(float((a - b).abs().max()) for a, b in zip(*found, strict=True))


def precision_error(card: HardwareProfile) -> Record:
    """FP8 against FP16 and FP16 against itself in other batches: logits of the same prompts."""
    ids = torch.randint(VOCAB_SIZE, (4, 128), generator=torch.Generator().manual_seed(SEED))
    logits = {}
    for precision in Precision:
        decoder = decoder_of(card, precision)
        logits[precision] = torch.cat([prompt_logits(decoder, row) for row in ids])
        if precision is Precision.FP16:
            together = all_logits(decoder, ids)
        del decoder
        torch.cuda.empty_cache()
    right, got = logits[Precision.FP16], logits[Precision.FP8]
    return {"fp8": difference(got, right), "fp16_batched": difference(together, right)}


def difference(got: torch.Tensor, right: torch.Tensor) -> Record:
    """Relative error, cosine, and how often the likeliest token is the same."""
    cosine = torch.nn.functional.cosine_similarity(got, right, dim=-1)
    same = (got[:, :VOCAB_SIZE].argmax(-1) == right[:, :VOCAB_SIZE].argmax(-1)).float().mean()
    divergence = torch.nn.functional.kl_div(
        got.log_softmax(-1), right.log_softmax(-1), reduction="batchmean", log_target=True
    )
    return {
        "relative_error": float((got - right).norm() / right.norm()),
        "cosine_min": float(cosine.min()),
        "cosine_mean": float(cosine.mean()),
        "same_argmax": float(same),
        "kl_nats": float(divergence),
        "finite": bool(got.isfinite().all()),
    }


def decoder_of(card: HardwareProfile, precision: Precision) -> Decoder:
    """The profile's model with a small cache."""
    spec = engine_spec(precision, max_batch_size=16)
    geometry = card.require_simulation().model
    return load_decoder(geometry, spec, pages=64, device="cuda", seed=SEED)


def prompt_logits(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """Logits after every token of one prompt, in float32."""
    return all_logits(decoder, ids[None])


def all_logits(decoder: Decoder, ids: torch.Tensor) -> torch.Tensor:
    """Logits after every token of several prompts packed into one iteration."""
    prompts, length = ids.shape
    count = prompts * length
    pages = -(-length // 32)
    order = torch.arange(count, dtype=torch.int32, device="cuda")
    inputs = Inputs(
        ids=ids.flatten().to("cuda", torch.int32),
        positions=order % length,
        sequences=order // length,
        last=order,
        tables=torch.arange(prompts * pages, dtype=torch.int32, device="cuda").view(prompts, pages),
    )
    with torch.inference_mode():
        return decoder.logits(inputs).float()


# --- Single iterations --------------------------------------------------------------------------


def steps(options: argparse.Namespace) -> Record:
    """Device time of decode-only and prefill-only iterations, by CUDA events."""
    found: Record = {"iterations": []}
    for precision in Precision:
        spec = engine_spec(precision, max_batch_size=192)
        runner, tables = runner_of(profile(options), spec)
        for batch in (1, 2, 4, 8, 16, 32, 64, 96, 128, 160, 192):
            for cached in (64, 192, 384):
                found["iterations"].append(
                    {"precision": precision, "kind": "decode", "batch": batch, "cached": cached}
                    | iteration_time(runner, tables, decode_only(batch, cached))
                )
        for length in (16, 64, 128, 256, 512, 1024):
            found["iterations"].append(
                {"precision": precision, "kind": "prefill", "batch": 1, "cached": length}
                | iteration_time(runner, tables, prefill_only(length))
            )
        del runner
        torch.cuda.empty_cache()
    for row in found["iterations"]:
        print(*row.values(), flush=True)
    return found


def runner_of(card: HardwareProfile, spec: EngineSpec) -> tuple[Runner, Any]:
    """A runner whose sequences own their pages one after the other."""
    engine, runner = load_engine(
        card.require_simulation(),
        spec,
        ServingSpec(kv_cache_tokens=192 * 512),
        vocab=VOCAB_SIZE,
        device="cuda",
        seed=SEED,
        emit=lambda _: None,
    )
    tables = engine._packer.tables  # noqa: SLF001 - the benchmark packs by itself
    for row in range(192):
        tables[row, :16] = range(row * 16, row * 16 + 16)
    tables[0, :64] = range(64)
    return runner, tables


def decode_only(batch: int, cached: int) -> Packed:
    """An iteration of `batch` generations, each reading `cached` tokens."""
    import numpy as np  # noqa: PLC0415

    rows = np.arange(batch, dtype=np.int32)
    return Packed(
        ids=rows,
        positions=np.full(batch, cached - 1, dtype=np.int32),
        sequences=rows,
        last=rows,
        asked=tuple(range(batch)),
    )


def prefill_only(length: int) -> Packed:
    """An iteration of one prompt."""
    import numpy as np  # noqa: PLC0415

    order = np.arange(length, dtype=np.int32)
    return Packed(ids=order, positions=order, sequences=0 * order, last=order[-1:], asked=(0,))


def iteration_time(runner: Runner, tables: Any, packed: Packed, repeats: int = 25) -> Record:
    """Median device time between events, and wall time of launch and wait."""
    device_s, wall_s = [], []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        started = time.perf_counter()
        begin.record()
        runner.launch(packed, tables)
        end.record()
        runner.tokens()
        wall_s.append(time.perf_counter() - started)
        torch.cuda.synchronize()
        device_s.append(begin.elapsed_time(end) / 1e3)
    return {
        "device_s": statistics.median(device_s),
        "device_s_low": min(device_s),
        "wall_s": statistics.median(wall_s),
    }


# --- Closed loops -------------------------------------------------------------------------------


@dataclass(slots=True)
class Loop:
    """Clients inside the process: each sends its next request when its last one ends."""

    workload: Workload
    engine: Any = None
    tokens: list[tuple[int, int]] = field(default_factory=list)
    ended: list[tuple[int, int, int, int]] = field(default_factory=list)  # end, sent, first, tokens
    steady_ns: int = 0
    sent: int = 0
    starting: int = 0
    closing: bool = False
    open: dict[int, list[int]] = field(default_factory=dict)
    rng: random.Random = field(default_factory=lambda: random.Random(SEED))  # noqa: S311 - prompts

    def begin(self) -> None:
        """Send each client's first, shortened request."""
        self.starting = self.workload.concurrency
        firsts = plan_schedule(self.workload, self.workload.concurrency).osl
        for slot, length in enumerate(firsts):
            self.send(slot, length)

    def send(self, slot: int, length: int) -> None:
        """Send a request of a random prompt."""
        self.sent += 1
        prompt = self.rng.choices(range(VOCAB_SIZE), k=self.workload.isl)
        request = SimRequest(id=self.sent, prompt_tokens=len(prompt), max_tokens=length)
        self.open[self.sent] = [slot, time.perf_counter_ns(), 0, 0]
        self.engine.submit(request, prompt)

    def emit(self, emissions: list[Emission]) -> None:
        """Count an iteration's tokens; runs on the engine's thread."""
        now = time.perf_counter_ns()
        self.tokens.append((now, len(emissions)))
        for emission in emissions:
            flight = self.open[emission.request_id]
            flight[2] = flight[2] or now
            flight[3] += len(emission.tokens)
            if emission.final:
                self.end(emission.request_id, now)

    def end(self, request_id: int, now: int) -> None:
        """Note a request's end and send the next one of its client."""
        slot, sent, first, tokens = self.open.pop(request_id)
        if request_id <= self.workload.concurrency:
            self.starting -= 1
            self.steady_ns = now if not self.starting else 0
        else:
            self.ended.append((now, sent, first, tokens))
        if not self.closing:
            self.send(slot, self.workload.osl)


class Logged:
    """A device that notes of each iteration what it held and how long it took."""

    def __init__(self, runner: Runner) -> None:
        self.runner = runner
        self.rows: list[tuple[int, int, int, int, int]] = []

    def launch(self, packed: Packed, tables: Any) -> None:
        """Note and pass on."""
        asked = len(packed.last)
        self.now = (
            time.perf_counter_ns(),
            len(packed.ids),
            asked,
            int(packed.positions[packed.last].sum()) + asked,
        )
        self.runner.launch(packed, tables)

    def tokens(self) -> list[int]:
        """Wait, and note how long it took."""
        tokens = self.runner.tokens()
        self.rows.append((*self.now, time.perf_counter_ns()))
        return tokens


def points(options: argparse.Namespace) -> Record:
    """Drive the named points, one engine after the other."""
    suite = load_suite(ROOT)
    asked = [suite.point(point) for point in options.points]
    found: Record = {"points": []}
    engines = dict.fromkeys(point.engine for point in asked)
    for spec in engines:
        started = time.perf_counter()
        loaded = loaded_engine(profile(options), spec, asked[0].serving, options.factor)
        boot_s = time.perf_counter() - started
        for point in asked:
            if point.engine == spec:
                row = drive(loaded, point, options) | {"boot_s": boot_s, "factor": options.factor}
                found["points"].append(row)
                print(told(row), flush=True)
        loaded[0].stop()
        del loaded
        torch.cuda.empty_cache()
    return found


def loaded_engine(
    card: HardwareProfile, spec: EngineSpec, serving: ServingSpec, factor: float
) -> tuple[Any, Logged, list[Loop]]:
    """A running engine, its log, and a box for the loop that listens to it."""
    box: list[Loop] = []
    engine, runner = load_engine(
        dataclasses.replace(card.require_simulation(), step_time_factor=factor),
        spec,
        serving,
        vocab=VOCAB_SIZE,
        device="cuda",
        seed=SEED,
        emit=lambda emissions: box[-1].emit(emissions) if box else None,
    )
    log = Logged(runner)
    engine._device = log  # noqa: SLF001 - the benchmark listens in
    engine.start()
    return engine, log, box


def drive(
    loaded: tuple[Any, Logged, list[Loop]], point: OperatingPoint, options: argparse.Namespace
) -> Record:
    """Run one point's closed loop for its windows and take its numbers."""
    engine, log, box = loaded
    loop = Loop(workload=point.workload, engine=engine)
    first_row = len(log.rows)
    box.append(loop)
    loop.begin()
    limit = time.perf_counter() + 60
    while not loop.steady_ns:
        if time.perf_counter() > limit:
            raise SystemExit(f"{point.id}: no steady state in 60 s")
        time.sleep(0.01)
    window_ns = round(options.window_s * 1e9)
    end_ns = loop.steady_ns + options.windows * window_ns
    while time.perf_counter_ns() < end_ns:
        time.sleep(0.01)
    loop.closing = True
    quiet = time.perf_counter() + 60
    while loop.open and time.perf_counter() < quiet:
        time.sleep(0.01)
    time.sleep(0.05)
    return point_row(point, loop, log.rows[first_row:], window_ns, options.windows)


def point_row(
    point: OperatingPoint, loop: Loop, rows: Sequence[tuple[int, ...]], window_ns: int, windows: int
) -> Record:
    """Throughput of each window, latencies over all, and a summary of the iterations."""
    start, end = loop.steady_ns, loop.steady_ns + windows * window_ns
    counts = [0] * windows
    for at, tokens in loop.tokens:
        if start < at <= end:
            counts[(at - start - 1) // window_ns] += tokens
    requests = [r for r in loop.ended if start < r[0] <= end and r[1] >= start]
    latencies = sorted((r[0] - r[1]) / 1e9 for r in requests)
    return {
        "point": point.id,
        "window_s": window_ns / 1e9,
        "window_tok_s": [count / (window_ns / 1e9) for count in counts],
        "throughput_tok_s": sum(counts) / (windows * window_ns / 1e9),
        "requests": len(requests),
        "latency_p50_s": quantile(latencies, 0.50),
        "latency_p95_s": quantile(latencies, 0.95),
        "ttft_p50_s": quantile(sorted((r[2] - r[1]) / 1e9 for r in requests), 0.50),
        "tpot_p50_s": quantile(
            sorted((r[0] - r[2]) / 1e9 / (r[3] - 1) for r in requests if r[3] > 1), 0.50
        ),
        "iterations": iterations([row for row in rows if start < row[0] <= end]),
    }


def iterations(rows: list[tuple[int, ...]]) -> Record:
    """What the window's iterations held, in the mean, and how long they took."""
    pure = [row for row in rows if row[1] == row[2]]
    mixed = [row for row in rows if row[1] != row[2]]
    gaps = [(after[0] - before[4]) / 1e9 for before, after in itertools.pairwise(rows)]
    return {
        "count": len(rows),
        "host_gap_s_p50": quantile(sorted(gaps), 0.5),
        "decode_only": kind_summary(pure),
        "mixed": kind_summary(mixed),
    }


def kind_summary(rows: list[tuple[int, ...]]) -> Record:
    """Mean sizes and the median time from launch to tokens."""
    if not rows:
        return {"count": 0}
    return {
        "count": len(rows),
        "tokens_mean": statistics.fmean(row[1] for row in rows),
        "asked_mean": statistics.fmean(row[2] for row in rows),
        "kv_tokens_mean": statistics.fmean(row[3] for row in rows),
        "seconds_p50": statistics.median((row[4] - row[0]) / 1e9 for row in rows),
        "seconds_mean": statistics.fmean((row[4] - row[0]) / 1e9 for row in rows),
    }


def quantile(values: list[float], share: float) -> float | None:
    """The value below which that share lies; None of nothing."""
    return values[min(len(values) - 1, int(share * len(values)))] if values else None


def told(row: Record) -> str:
    """One line of a point for a person."""
    return (
        f"{row['point']}: {row['throughput_tok_s']:.0f} tok/s {row['window_tok_s']}"
        f" p50 {row['latency_p50_s']} p95 {row['latency_p95_s']} boot {row['boot_s']:.1f} s"
    )


# --- Boots --------------------------------------------------------------------------------------


def boots(options: argparse.Namespace) -> Record:
    """Fresh processes in turn, A B B A A B ...: A unchanged, B slowed by the planted share."""
    found: Record = {"planted": options.planted, "boots": []}
    for index in range(options.boots):
        arm = "A" if index % 4 in (0, 3) else "B"
        factor = 1.0 if arm == "A" else 1.0 + options.planted
        folder = options.out / f"boot-{index}"
        started = time.perf_counter()
        subprocess.run(
            [
                *(sys.executable, __file__, "points", str(folder), "--points", *options.points),
                *("--window-s", str(options.window_s), "--windows", str(options.windows)),
                *("--factor", str(factor), "--hardware", options.hardware),
            ],
            check=True,
            timeout=300,
            stdout=subprocess.DEVNULL,
        )
        stored = json.loads((folder / "points.json").read_text(encoding="utf-8"))
        wall_s = time.perf_counter() - started
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        found["boots"].append(
            {"index": index, "arm": arm, "wall_s": wall_s, "telemetry": stored["telemetry"]}
            | {"points": stored["points"]}
        )
        line = ", ".join(f"{p['point']} {p['throughput_tok_s']:.0f}" for p in stored["points"])
        print(f"boot {index} {arm} {wall_s:.0f} s: {line}", flush=True)
        (options.out / "boots.partial.json").write_text(json.dumps(found), encoding="utf-8")
    (options.out / "boots.partial.json").unlink()
    return found


# --- What all of them need ----------------------------------------------------------------------


def profile(options: argparse.Namespace) -> HardwareProfile:
    """The card's profile: the model's shape stands in it."""
    return load_profile(ROOT / "hardware" / f"{options.hardware}.toml")


def engine_spec(precision: Precision, *, max_batch_size: int) -> EngineSpec:
    """An engine as in points.toml."""
    return EngineSpec(
        model="llm-7b",
        precision=precision,
        max_batch_size=max_batch_size,
        max_input_len=1536,
        max_seq_len=2048,
        max_num_tokens=8192,
    )


def timed(work: Callable[[], object], repeats: int = 10) -> float:
    """Median device time of `work` in seconds, warmed up."""
    times: list[float] = []
    for index in range(repeats + 3):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        work()
        end.record()
        torch.cuda.synchronize()
        if index >= 3:
            times.append(begin.elapsed_time(end) / 1e3)
    return statistics.median(times)


def device() -> Record:
    """The card and its driver, as nvidia-smi names them."""
    fields = "name,driver_version,memory.total,power.limit,clocks.max.sm,clocks.max.mem"
    line = subprocess.run(
        ["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"],  # noqa: S607
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    return dict(zip(fields.split(","), line.split(", "), strict=True))


@contextmanager
def telemetry(period_s: float = 0.2) -> Iterator[list[Record]]:
    """Sample NVML in the background; nothing is set, only read."""
    import pynvml  # noqa: PLC0415 - comes with the card's driver, not with perfgate

    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    samples: list[Record] = []
    stop = threading.Event()

    def sample() -> None:
        while not stop.wait(period_s):
            samples.append(
                {
                    "sm_mhz": pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_SM),
                    "mem_mhz": pynvml.nvmlDeviceGetClockInfo(card, pynvml.NVML_CLOCK_MEM),
                    "watts": pynvml.nvmlDeviceGetPowerUsage(card) / 1000,
                    "celsius": pynvml.nvmlDeviceGetTemperature(card, 0),
                    "busy": pynvml.nvmlDeviceGetUtilizationRates(card).gpu,
                    "throttle": pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(card),
                }
            )

    thread = threading.Thread(target=sample, daemon=True)
    thread.start()
    try:
        yield samples
    finally:
        stop.set()
        thread.join()


def summed(samples: list[Record]) -> Record:
    """Lowest, median and highest of each reading while the card was busy, and throttle bits."""
    busy = [sample for sample in samples if sample["busy"] > 50]
    if not busy:
        return {"samples": len(samples), "busy_samples": 0}
    found: Record = {"samples": len(samples), "busy_samples": len(busy)}
    for key in ("sm_mhz", "mem_mhz", "watts", "celsius", "busy"):
        values = sorted(sample[key] for sample in busy)
        found[key] = [values[0], statistics.median(values), values[-1]]
    bits: dict[str, int] = {}
    for sample in busy:
        bits[hex(sample["throttle"])] = bits.get(hex(sample["throttle"]), 0) + 1
    found["throttle_reasons"] = bits
    return found


POINTS = (
    "fp16-b16-c16",
    "fp16-prefill",
    "fp8-b16-c16",
    "fp8-prefill",
    "fp8-decode",
    "fp8-b64-c64",
    "fp8-b64-c160",
    "fp8-b192-c1",
    "fp8-b192-c32",
    "fp8-b192-c96",
    "fp8-b192-c128",
    "fp8-b192-c160",
    "fp8-b192-c192",
)
COMMANDS: dict[str, Callable[[argparse.Namespace], Record]] = {
    "check": check,
    "steps": steps,
    "points": points,
    "boots": boots,
}

if __name__ == "__main__":
    main()
