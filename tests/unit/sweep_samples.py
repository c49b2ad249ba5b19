"""Made-up engines whose curve is known, to sweep without a server."""

from contextlib import contextmanager
from dataclasses import replace

from perfgate.errors import LoadError
from perfgate.model import ResourceUse, Sampling, Veto
from perfgate.sweep.choice import Next, Seen, SweepPlan, next_choice
from perfgate.sweep.content import SweepFile
from perfgate.sweep.rate_result import rate_result
from perfgate.sweep.rates import RatePlan, open_loop
from perfgate.sweep.result import result_of
from perfgate.sweep.run import Means, begun, run_sweep
from tests.unit.factories import a_claim, a_distribution, a_measurement, a_point, a_run_info
from tests.unit.sim_samples import gb10

SAMPLING = Sampling(rounds=4, round_requests=80, ramp=2)
KEEPS_UP = 25.0
"""Requests a second that the made-up engine takes; at 20 its P95 reaches the ceiling of 7 s."""


def curve(concurrency, *, fixed_s=0.0268, each_s=0.0001625, batch=192, osl=128):
    """Throughput and latency of an engine whose step is fixed + each x batch."""
    running = min(concurrency, batch)
    throughput = running / (fixed_s + each_s * running)
    return throughput, concurrency * osl / throughput


def a_plan(**changes):
    """A sweep of the field report's engine; ten minutes, P95 up to 7 s."""
    plan = SweepPlan(max_batch_size=192, sampling=SAMPLING, budget_s=600, ceiling_p95_s=7.0)
    return replace(plan, **changes)


def swept(plan, *, of=curve, most=60):
    """Follow the choice to its end: what was measured in order, and the last word."""
    seen = []
    while isinstance(step := next_choice(plan, seen), Next):
        throughput, latency = of(step.concurrency)
        seen.append(
            Seen(
                concurrency=step.concurrency,
                seconds=step.expected_s,
                throughput_tok_s=throughput,
                latency_p50_s=latency,
                latency_p95_s=latency * 1.01 if step.concurrency >= 8 else None,
            )
        )
        assert len(seen) < most, "it never ends"
    return seen, step.why


class Rigs:
    """Made-up servers: each boot is counted, each point answered from the curve."""

    def __init__(self, *, of=curve, vetoed=(), broken=(), seconds=30.0, interrupt_at=None):
        self.of, self.vetoed, self.broken = of, dict(vetoed), set(broken)
        self.seconds, self.interrupt_at = seconds, interrupt_at
        self.boots, self.measured, self.stored, self.ahead = [], [], [], []
        self.open = 0
        self.now = 0.0

    @contextmanager
    def open_rig(self, boot):
        """A server that is gone after the block, whatever happens."""
        self.boots.append(boot)
        self.open += 1
        try:
            yield self
        finally:
            self.open -= 1

    def measure(self, point):
        """The point's measurement, or what goes wrong there."""
        arrivals, concurrency = point.workload.arrivals, point.workload.concurrency
        load = arrivals.requests_per_s if arrivals else concurrency
        if load == self.interrupt_at:
            raise KeyboardInterrupt
        self.measured.append(point.id)
        self.now += self.seconds
        if load in self.broken:
            raise LoadError("every stream was reset")
        return self.offer(point, load) if arrivals else self.serve(point, concurrency)

    def serve(self, point, concurrency):
        """A closed loop's measurement: on the curve."""
        throughput, latency = self.of(concurrency)
        waiting = max(0.0, concurrency - point.engine.max_batch_size)
        found = a_measurement(
            point,
            throughput_tok_s=throughput,
            p50_s=latency,
            p95_s=latency * 1.01 if concurrency >= 8 else None,
            tpot_s=latency / 129,
            vetoes=self.vetoed.get(concurrency, ()),
        )
        use = ResourceUse(
            samples=9, active_mean=float(concurrency), waiting_mean=waiting, kv_cache_peak=0.5
        )
        return replace(
            found,
            resources=use,
            records="",
            latency_s=a_distribution(latency, p95=found.latency_s.p95),
        )

    def offer(self, point, rate):
        """An open loop's measurement: P95 grows by a quarter second a request/s, up to 25."""
        behind = (Veto(rule="backlog", message="it does not keep up"),) if rate > KEEPS_UP else ()
        found = a_measurement(
            point,
            throughput_tok_s=128 * min(rate, KEEPS_UP),
            p95_s=2 + rate / 4,
            vetoes=self.vetoed.get(rate, behind),
        )
        return replace(found, records="")

    def expect(self, later):
        """Keep what was announced."""
        self.ahead.append(later)

    def means(self, check=lambda *_: None):
        """What a sweep measures with."""
        return Means(
            open_rig=self.open_rig,
            check=check,
            store=self.stored.append,
            ahead=self,
            clock=lambda: self.now,
        )


def a_sweep(rigs, plan=None, *, earlier=None, boots=1):
    """Sweep a made-up engine to the end and return it."""
    plan = plan or a_plan()
    point = replace(a_point(claim=a_claim(floor_tok_s=None)), gated=False)
    run_sweep(earlier or begun(point, plan), plan, rigs.means(), boots=boots)
    return rigs.stored[-1]


def a_rate_plan(**changes):
    """A sweep of rates with time enough."""
    return replace(RatePlan(sampling=SAMPLING, budget_s=1e9), **changes)


def a_rate_sweep(rigs=None, plan=None, *, earlier=None, ceiling_s=7.0):
    """Offer rates to a made-up engine to the end and return what came."""
    rigs, plan = rigs or Rigs(), plan or a_rate_plan()
    claim = a_claim(floor_tok_s=None, ceiling_p95_s=ceiling_s) if ceiling_s else None
    point = open_loop(replace(a_point(claim=claim), gated=False), most_in_flight=384)
    run_sweep(earlier or begun(point, plan), plan, rigs.means(), boots=1)
    return rigs.stored[-1]


def a_rate_file():
    """A finished sweep of rates, with a disturbed and a broken one."""
    veto = Veto(rule="client-cpu", message="the <b>client</b> was slow")
    plan = a_rate_plan(rates=(4.0, 8.0, 12.0, 16.0, 20.5, 32.0))
    sweep = a_rate_sweep(Rigs(vetoed={8.0: (veto,)}, broken={12.0}), plan)
    return SweepFile(run=a_run_info(), engines=(replace(sweep, offered=rate_result(sweep)),))


def a_sweep_file(*, virtual=False):
    """A finished sweep of two engines, with a disturbed and a broken concurrency."""
    veto = Veto(rule="client-cpu", message="the <b>client</b> was slow")
    sweep = a_sweep(Rigs(vetoed={64: (veto,)}, broken={256}), a_plan(budget_s=1e9))
    sweep = replace(sweep, result=result_of(sweep, gb10()))
    if virtual:
        first = sweep.taken[0]
        known = replace(first.measurement.fingerprint, identity={"clock": "virtual"})
        found = replace(first.measurement, fingerprint=known)
        sweep = replace(sweep, taken=(replace(first, measurement=found), *sweep.taken[1:]))
    engine = replace(sweep.point.engine, max_batch_size=64)
    small = replace(sweep, point=replace(sweep.point, engine=engine))
    return SweepFile(run=a_run_info(), engines=(sweep, small))
