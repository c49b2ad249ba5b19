"""Numbers as a reader wants them: sensible digits, always a unit, never a made-up zero."""

from __future__ import annotations

import math

MINUTE_S = 60
HOUR_S = 3600
TOO_FEW = "too few"


def significant(value: float, digits: int = 3) -> str:
    """Round to `digits` significant digits without an exponent; whole digits are never dropped."""
    if value == 0:
        return "0"
    whole_digits = math.floor(math.log10(abs(value))) + 1
    return f"{value:.{max(digits - whole_digits, 0)}f}"


def tok_s(value: float) -> str:
    """A throughput without its unit, such as 3033 or 301.4."""
    return significant(value, 4)


def duration(seconds: float) -> str:
    """A time with the unit that suits it, such as 6.88 s, 310 ms or 42.0 µs."""
    for limit, factor, unit in ((1.0, 1, "s"), (1e-3, 1e3, "ms")):
        if abs(seconds) >= limit:
            return f"{significant(seconds * factor)} {unit}"
    return "0 s" if seconds == 0 else f"{significant(seconds * 1e6)} µs"


def duration_or_words(seconds: float | None, words: str = TOO_FEW) -> str:
    """A time, or the words that say why there is none."""
    return words if seconds is None else duration(seconds)


def ratio(value: float) -> str:
    """A ratio near one, such as 1.03."""
    return f"{value:.2f}"


def change(fraction: float) -> str:
    """A signed share such as +1.1 %; a small one keeps a digit, so that it is not shown as none."""
    percent = fraction * 100
    if percent == 0:
        return "0.0 %"
    return f"{percent:+.1f} %" if abs(percent) >= 0.05 else f"{percent:+.1g} %"  # noqa: PLR2004 - where one decimal starts to show


def share(fraction: float) -> str:
    """An unsigned share such as 31.2 %."""
    return f"{fraction * 100:.1f} %"


def quantity(value: float | None, unit: str) -> str:
    """A finding's number in its own unit; None becomes the word none."""
    if value is None:
        return "none"
    if unit == "tok/s":
        return f"{tok_s(value)} tok/s"
    if unit == "s":
        return duration(value)
    return f"{significant(value, 4)} {unit}".strip()


def span(seconds: float) -> str:
    """A stretch of wall time for people, such as 42 s, 6 min 12 s or 1 h 05 min."""
    whole = max(round(seconds), 0)
    if whole < MINUTE_S:
        return f"{whole} s"
    if whole < HOUR_S:
        return f"{whole // MINUTE_S} min {whole % MINUTE_S:02d} s"
    return f"{whole // HOUR_S} h {whole % HOUR_S // MINUTE_S:02d} min"
