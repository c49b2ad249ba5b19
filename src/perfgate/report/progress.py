"""How far a run is, as one line: pure functions of a plan, what is done and the time gone by."""

from __future__ import annotations

from dataclasses import dataclass

from perfgate.errors import UsageError

_TRUSTED_SHARE = 0.1  # of a step's count: before that, its own pace says too little


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One stretch of work, with the time it is expected to take, and what it counts."""

    name: str
    expected_s: float
    counts: str = "requests"


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """Where a run stands: step `running` (from 0) of the plan, for `step_elapsed_s` so far.

    `completed` and `total` count what the running step does; `total` is None where it has no count.
    """

    plan: tuple[Step, ...]
    running: int
    elapsed_s: float
    step_elapsed_s: float
    completed: int = 0
    total: int | None = None

    def __post_init__(self) -> None:
        """Refuse a step that is not in the plan."""
        if not 0 <= self.running < len(self.plan):
            rule = f"it must be one of the plan's {len(self.plan)} steps"
            raise UsageError("running", self.running, rule)

    @property
    def step(self) -> Step:
        """The running step."""
        return self.plan[self.running]

    @property
    def left_s(self) -> float:
        """The time the rest is expected to take: this step's remainder, then the later steps."""
        later = sum(step.expected_s for step in self.plan[self.running + 1 :])
        return _step_left_s(self) + later


def status_line(progress: Progress, *, width: int = 80) -> str:
    """The line a terminal shows while a step runs, cut to `width`.

    For example `[3/9] fp8-b64-c64  412/1024 requests  1:12 gone, about 3:40 left`.
    """
    step = progress.step
    count = (
        "" if progress.total is None else f"  {progress.completed}/{progress.total} {step.counts}"
    )
    times = f"  {_clock(progress.elapsed_s)} gone, {_left(progress)}"
    room = width - len(_counter(progress)) - len(count) - len(times)
    name = step.name
    if len(name) > room:
        name = name[: max(room - 2, 0)] + ".."
    return f"{_counter(progress)}{name}{count}{times}"[:width]


def start_line(progress: Progress) -> str:
    """The plain line at a step's start, for logs."""
    expected = _clock(progress.step.expected_s)
    left = f"run about {_clock(progress.left_s)} more"
    return f"{_counter(progress)}{progress.step.name}: started, about {expected}; {left}"


def end_line(progress: Progress) -> str:
    """The plain line at a step's end, for logs."""
    requests = "" if progress.total is None else f", {progress.completed} {progress.step.counts}"
    took = f"done in {_clock(progress.step_elapsed_s)}"
    return f"{_counter(progress)}{progress.step.name}: {took}{requests}"


def _step_left_s(progress: Progress) -> float:
    if progress.total and progress.completed >= _TRUSTED_SHARE * progress.total:
        waiting = max(progress.total - progress.completed, 0)
        return progress.step_elapsed_s * waiting / progress.completed
    return max(progress.step.expected_s - progress.step_elapsed_s, 0.0)


def _left(progress: Progress) -> str:
    overdue = progress.total is None and progress.step_elapsed_s > progress.step.expected_s
    return "longer than planned" if overdue else f"about {_clock(progress.left_s)} left"


def _counter(progress: Progress) -> str:
    return f"[{progress.running + 1}/{len(progress.plan)}] "


def _clock(seconds: float) -> str:
    whole = max(round(seconds), 0)
    hours, rest = divmod(whole, 3600)
    minutes, second = divmod(rest, 60)
    return f"{hours}:{minutes:02d}:{second:02d}" if hours else f"{minutes}:{second:02d}"
