"""The load that is asked for: who sends, when, how much, and what prompts share."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perfgate.errors import UsageError
from perfgate.model.checks import require_all_positive, require_name, require_positive


class ArrivalProcess(StrEnum):
    """When the requests of an open loop arrive."""

    CONSTANT = "constant"  # evenly spaced
    POISSON = "poisson"  # independently of each other: exponential gaps
    BURSTS = "bursts"  # `burst` at once, the bursts evenly spaced
    REPLAY = "replay"  # as a trace recorded them


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """A recorded trace by its content: what it holds, not what it is called.

    `requests_per_s` is the recorded mean rate; `most_tokens` the most that one request takes,
    prompt and answer together. `path` is relative to the suite's folder.
    """

    path: str
    sha256: str
    requests: int
    requests_per_s: float
    most_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """An open loop: requests are sent when they are due, whatever has become of those before.

    `requests_per_s` is the mean rate. A replay at another rate than the recorded one is stretched
    or squeezed evenly.
    """

    process: ArrivalProcess
    requests_per_s: float
    burst: int = 1
    trace: Trace | None = None

    def __post_init__(self) -> None:
        """Refuse no rate, and parts that the process does not have."""
        require_all_positive(self, "requests_per_s")
        require_positive("burst", self.burst)
        if (self.process is ArrivalProcess.BURSTS) != (self.burst > 1):
            rule = "bursts, and only they, hold 2 requests or more"
            raise UsageError("burst", self.burst, rule)
        if (self.process is ArrivalProcess.REPLAY) != (self.trace is not None):
            got = self.trace and self.trace.path
            raise UsageError("trace", got, "a replay, and nothing else, has a trace")


class LengthLaw(StrEnum):
    """How lengths are distributed between their bounds."""

    UNIFORM = "uniform"
    NORMAL = "normal"
    LOGNORMAL = "lognormal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """A distribution of token counts within `least` and `most`, both included.

    A fixed length has one for both. `mean` and `stdev` are those of the unclipped law in tokens,
    for the log-normal one too; what falls outside of the bounds is set to the bound.
    """

    least: int
    most: int
    law: LengthLaw = LengthLaw.UNIFORM
    mean: float | None = None
    stdev: float | None = None

    def __post_init__(self) -> None:
        """Refuse bounds in the wrong order, and a law without its parameters."""
        require_positive("least", self.least)
        if self.most < self.least:
            raise UsageError("most", self.most, f"it must not be under least ({self.least})")
        uniform = self.law is LengthLaw.UNIFORM
        for name in ("mean", "stdev"):
            if (getattr(self, name) is None) != uniform:
                rule = f"a {self.law} length has {'least and most only' if uniform else 'one'}"
                raise UsageError(name, getattr(self, name), rule)
        require_all_positive(self, "mean", "stdev")

    @property
    def label(self) -> str:
        """Short text for tables: `128`, `64-512` or `lognormal 300`."""
        if self.least == self.most:
            return str(self.most)
        return f"{self.least}-{self.most}" if self.mean is None else f"{self.law} {self.mean:g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthClass:
    """One part of a mixture: `share` of the requests are so long."""

    name: str
    share: float
    isl: Length
    osl: Length

    def __post_init__(self) -> None:
        """Refuse a share that is none."""
        require_name("name", self.name)
        if not 0 < self.share <= 1:
            raise UsageError("share", self.share, "it must be above 0 and at most 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sessions:
    """Conversations of `turns` requests, each of which carries the conversation so far.

    A client waits `think_s` between an answer and its next turn. Answers within prompts are drawn
    beforehand, as long as the real ones: prompts are serialised before the clock starts.
    """

    turns: int
    think_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a conversation of one turn, and thinking back in time."""
        if self.turns < 2:  # noqa: PLR2004 - one turn is no conversation
            raise UsageError("turns", self.turns, "a conversation has 2 turns or more")
        if self.think_s < 0:
            raise UsageError("think_s", self.think_s, "it must be 0 or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedPrefix:
    """The first `share` of each prompt is common to its group; groups take turns."""

    share: float
    groups: int = 1

    def __post_init__(self) -> None:
        """Refuse a share that leaves nothing to share, or nothing to tell prompts apart."""
        if not 0 < self.share < 1:
            raise UsageError("share", self.share, "it must lie between 0 and 1")
        require_positive("groups", self.groups)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """The load: at most `concurrency` requests in flight, always so many in a closed loop.

    With `arrivals` the loop is open: requests are sent at their time, and `concurrency` is only the
    bound at which a backlog is recognised. `isl` and `osl` are the prompt and output tokens of each
    request; where lengths differ (`mix`, a replay) they are the greatest, and in `sessions` those
    that one turn adds.
    """

    concurrency: int
    isl: int
    osl: int
    seed: int = 0
    arrivals: Arrivals | None = None
    mix: tuple[LengthClass, ...] = ()
    sessions: Sessions | None = None
    prefix: SharedPrefix | None = None

    def __post_init__(self) -> None:
        """Refuse a load of nothing, and parts that contradict each other."""
        for name in ("concurrency", "isl", "osl"):
            require_positive(name, getattr(self, name))
        if self.seed < 0:
            raise UsageError("seed", self.seed, "it must be 0 or more")
        if self.mix:
            self._check_mix(self.mix)
        if self.sessions is not None and (self.arrivals or self.mix):
            rule = "a turn follows its answer and adds isl tokens: no arrivals and no mix with them"
            raise UsageError("sessions", self.sessions.turns, rule)
        if self.trace is not None and self.mix:
            raise UsageError("mix", len(self.mix), "a replay takes its lengths from the trace")

    def _check_mix(self, mix: tuple[LengthClass, ...]) -> None:
        total = sum(part.share for part in mix)
        if abs(total - 1) > 1e-9:  # noqa: PLR2004 - what binary fractions are off by
            raise UsageError("share", round(total, 6), "the shares of a mix must add up to 1")
        names = [part.name for part in mix]
        if len(set(names)) < len(names):
            raise UsageError("mix", ", ".join(names), "each part needs a name of its own")
        greatest = (max(part.isl.most for part in mix), max(part.osl.most for part in mix))
        if (self.isl, self.osl) != greatest:
            rule = f"with a mix they are its greatest lengths ({greatest[0]}, {greatest[1]})"
            raise UsageError("isl, osl", f"{self.isl}, {self.osl}", rule)

    @property
    def trace(self) -> Trace | None:
        """The trace that is replayed, if one is."""
        return self.arrivals.trace if self.arrivals else None

    @property
    def turns(self) -> int:
        """Requests of one conversation; 1 where each stands alone."""
        return self.sessions.turns if self.sessions else 1

    @property
    def think_s(self) -> float:
        """What a client waits before each request after its first."""
        return self.sessions.think_s if self.sessions else 0.0

    @property
    def uniform(self) -> bool:
        """Whether it is a closed loop of requests that are all alike."""
        return self.arrivals is None and not self.mix and self.sessions is None

    @property
    def longest_prompt(self) -> int:
        """The most prompt tokens of any request."""
        return self.turns * self.isl + (self.turns - 1) * self.osl

    @property
    def most_tokens(self) -> int:
        """The most tokens of any request, prompt and answer together."""
        if self.trace is not None:
            return self.trace.most_tokens
        if self.mix:
            return max(part.isl.most + part.osl.most for part in self.mix)
        return self.turns * (self.isl + self.osl)

    @property
    def label(self) -> str:
        """Who sends when, in few words: `16 clients` or `4.5 requests/s poisson`."""
        if self.arrivals is None:
            return f"{self.concurrency} clients"
        return f"{self.arrivals.requests_per_s:g} requests/s {self.arrivals.process}"
