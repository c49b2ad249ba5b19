"""Recorded traces: the fields in common use, and what a mistake in them says."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import UsageError
from perfgate.traffic.trace import TraceRow, parse_trace, requests_per_s

pytestmark = pytest.mark.unit

MOONCAKE = """\
{"timestamp": 1000, "input_length": 6758, "output_length": 500, "hash_ids": [0, 1, 2]}

{"timestamp": 1500.5, "input_length": 12, "output_length": 1, "hash_ids": []}
"""
AZURE = """\
{"TIMESTAMP": "2023-11-16 18:15:46.6805900", "ContextTokens": 374, "GeneratedTokens": 44}
{"TIMESTAMP": "2023-11-16 18:15:50.9951690", "ContextTokens": 396, "GeneratedTokens": 109}
"""


def test_mooncake_s_fields_are_read():
    """Milliseconds, counted from the first request; block hashes are of no use here."""
    assert parse_trace(MOONCAKE, origin="t") == (
        TraceRow(0, 6758, 500),
        TraceRow(500_500_000, 12, 1),
    )


def test_azure_s_fields_are_read():
    """Times of day with seven decimals."""
    first, second = parse_trace(AZURE, origin="t")

    assert (first.isl, first.osl, second.isl, second.osl) == (374, 44, 396, 109)
    assert second.at_ns == pytest.approx(4_314_579_000, abs=1000)


def test_the_rate_is_gaps_over_time():
    """Three requests within two seconds come once a second."""
    rows = [TraceRow(0, 1, 1), TraceRow(100, 1, 1), TraceRow(2_000_000_000, 1, 1)]

    assert requests_per_s(rows) == 1.0


@given(
    st.lists(
        st.tuples(st.integers(0, 10**9), st.integers(1, 10**6), st.integers(1, 10**6)),
        min_size=2,
    ).map(sorted)
)
def test_what_was_written_is_read(rows):
    """Any trace in order of time comes back, counted from its first request."""
    text = "\n".join(
        json.dumps({"timestamp": at, "input_tokens": isl, "output_tokens": osl})
        for at, isl, osl in rows
    )
    if rows[0][0] == rows[-1][0]:
        with pytest.raises(UsageError, match="at different times"):
            parse_trace(text, origin="t")
        return

    expected = [((at - rows[0][0]) * 1_000_000, isl, osl) for at, isl, osl in rows]
    assert list(parse_trace(text, origin="t")) == expected


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{", "line 3: got '{', but it must be JSON"),
        ("[1]", "line 3: got .* it must be an object"),
        ('{"input_length": 1, "output_length": 1}', "line 3: timestamp: got None.*TIMESTAMP"),
        ('{"timestamp": 9999, "output_length": 1}', "line 3: input_length: got None.*prompt_len"),
        ('{"timestamp": 9999, "input_length": 1}', "line 3: output_length: got None"),
        (
            '{"timestamp": 9999, "input_length": 0, "output_length": 1}',
            "line 3: input_length: got 0",
        ),
        (
            '{"timestamp": 9999, "input_length": 1, "output_length": 2.5}',
            r"line 3: output_length: got 2\.5",
        ),
        (
            '{"timestamp": "noon", "input_length": 1, "output_length": 1}',
            "line 3: timestamp: got 'noon'",
        ),
        (
            '{"timestamp": true, "input_length": 1, "output_length": 1}',
            "line 3: timestamp: got True",
        ),
        (
            '{"timestamp": 9, "input_length": 1, "output_length": 1}',
            "line 3: time: got 9.* in order of time",
        ),
    ],
)
def test_a_mistake_names_its_line_and_field(line, told):
    """Line, field, value and rule."""
    good = MOONCAKE.replace("\n\n", "\n")

    with pytest.raises(UsageError, match=f"t: {told}"):
        parse_trace(good + line, origin="t")
