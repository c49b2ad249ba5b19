"""Which verdict is reported, and what a shell is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.gate import exit_code, worst
from perfgate.model import Judgement, Verdict

pytestmark = pytest.mark.unit

VERDICTS = st.lists(st.sampled_from(list(Verdict)))


def judged(*verdicts):
    """Judgements with these verdicts."""
    return [Judgement(point=f"p{i}", verdict=v, findings=()) for i, v in enumerate(verdicts)]


@given(VERDICTS, st.randoms())
def test_order_is_irrelevant(verdicts, random):
    """Neither the worst verdict nor the exit code depends on the order of findings."""
    shuffled = verdicts[:]
    random.shuffle(shuffled)

    assert worst(shuffled) is worst(verdicts)
    assert exit_code(judged(*shuffled)) == exit_code(judged(*verdicts))


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ("INVALID REGRESSION UNSTABLE", "INVALID"),
        ("PASS REGRESSION UNSTABLE", "REGRESSION"),
        ("INCONCLUSIVE UNSTABLE IMPROVEMENT", "UNSTABLE"),
        ("IMPROVEMENT INCONCLUSIVE PASS", "INCONCLUSIVE"),
        ("PASS IMPROVEMENT", "IMPROVEMENT"),
        ("PASS PASS", "PASS"),
        ("", "INVALID"),
    ],
)
def test_the_documented_order_within_a_point(verdicts, expected):
    """INVALID, REGRESSION, UNSTABLE, INCONCLUSIVE; IMPROVEMENT only if all else passes."""
    assert worst(Verdict(name) for name in verdicts.split()) is Verdict(expected)


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        ("PASS", 0),
        ("PASS IMPROVEMENT", 0),
        ("REGRESSION PASS", 1),
        ("INCONCLUSIVE PASS", 3),
        ("INVALID INCONCLUSIVE UNSTABLE", 4),
        ("UNSTABLE INCONCLUSIVE", 5),
        ("REGRESSION INVALID", 1),
        ("", 4),
    ],
)
def test_exit_codes(verdicts, code):
    """A proven regression is 1 whatever else went wrong; nothing judged is never 0."""
    assert exit_code(judged(*(Verdict(name) for name in verdicts.split()))) == code
