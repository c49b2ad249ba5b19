"""Which of several verdicts is the one to report, and what a shell is told of it."""

from __future__ import annotations

from collections.abc import Iterable

from perfgate.model import Judgement, Verdict

# Within one point, worst first. A number that may not be trusted proves nothing, so INVALID hides
# what else was found; an unstable one still counts as slow when it is slow.
SEVERITY = (
    Verdict.INVALID,
    Verdict.REGRESSION,
    Verdict.UNSTABLE,
    Verdict.INCONCLUSIVE,
    Verdict.IMPROVEMENT,
    Verdict.PASS,
)

# Over several points. One point's fault does not excuse another point's proven loss, so here
# REGRESSION comes first: running again would only find it again.
_EXIT_CODES = {
    Verdict.REGRESSION: 1,
    Verdict.INVALID: 4,
    Verdict.UNSTABLE: 5,
    Verdict.INCONCLUSIVE: 3,
    Verdict.IMPROVEMENT: 0,
    Verdict.PASS: 0,
}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict that the others cannot outweigh; none at all is INVALID, never a pass."""
    return min(verdicts, key=SEVERITY.index, default=Verdict.INVALID)


def exit_code(judgements: Iterable[Judgement]) -> int:
    """0 pass or improvement, 1 regression, 3 inconclusive, 4 invalid, 5 unstable.

    Nothing judged is 4: an empty run is never a success. (2 is the shell's word for wrong usage.)
    """
    order = list(_EXIT_CODES)
    verdicts = (judgement.verdict for judgement in judgements)
    return _EXIT_CODES[min(verdicts, key=order.index, default=Verdict.INVALID)]
