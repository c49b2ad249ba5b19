"""Pure judgement: measurements, what they are held against and the policy in; verdicts out."""

from perfgate.gate.comparisons import (
    judge_comparison,
    judge_equal,
    judge_speedup,
    judge_starved,
)
from perfgate.gate.judge import judge, unmeasured
from perfgate.gate.verdicts import exit_code, worst
from perfgate.gate.wording import explain

__all__ = [
    "exit_code",
    "explain",
    "judge",
    "judge_comparison",
    "judge_equal",
    "judge_speedup",
    "judge_starved",
    "unmeasured",
    "worst",
]
