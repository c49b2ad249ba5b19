"""The records as tables: read back, they are the records."""

import csv
import io
import sys
from dataclasses import replace

import pyarrow as pa
import pytest
from pyarrow import parquet

from perfgate.errors import MissingRequirementError
from perfgate.exports.requests import COLUMNS, requests_csv, requests_parquet
from perfgate.model import RequestStatus, ServerTimings
from tests.unit.factories import a_load_run, a_point, a_record

pytestmark = pytest.mark.unit

STAMPS = ServerTimings(
    arrival_ns=2**60, first_scheduled_ns=2**60 + 1, first_token_ns=2**60 + 2, last_token_ns=2**61
)
HOSTILE = 'it said "no",\nthen; =1+1'


def runs():
    """Two runs: a request before the window, one in it, and one that failed without a token."""
    failed = replace(
        a_record(2, sent_ns=350),
        status=RequestStatus.ERROR,
        arrivals_ns=(),
        tokens=(),
        input_tokens=None,
        error=HOSTILE,
    )
    records = (a_record(0), replace(a_record(1, sent_ns=300), server=STAMPS), failed)
    return [
        a_load_run(records, marks_ns=(200, 500), point=a_point(name)) for name in ("one", "other")
    ]


@pytest.fixture
def csv_rows():
    """The CSV, read by the standard reader."""
    return list(csv.DictReader(io.StringIO(requests_csv(runs()), newline="")))


@pytest.fixture
def table():
    """The Parquet file, read by pyarrow."""
    return parquet.read_table(pa.BufferReader(requests_parquet(runs())))


def test_a_row_is_a_request(csv_rows):
    """Each request of each run, with its metrics in seconds and its window."""
    first, second, failed, *_ = csv_rows

    assert [row["point"] for row in csv_rows] == ["one"] * 3 + ["other"] * 3
    assert [row["in_window"] for row in (first, second, failed)] == ["False", "True", "True"]
    assert float(second["ttft_s"]) == pytest.approx(100e-9)
    assert float(second["tpot_s"]) == pytest.approx(10e-9)
    assert float(second["latency_s"]) == pytest.approx(130e-9)


def test_the_unknown_is_an_empty_cell(csv_rows):
    """No zero stands for a token that never came."""
    failed = csv_rows[2]

    assert failed["error"] == HOSTILE
    for name in ("ttft_s", "tpot_s", "latency_s", "input_tokens", "server_arrival_ns"):
        assert failed[name] == ""


def test_parquet_holds_the_same_as_csv(table, csv_rows):
    """Column by column; nanoseconds stay exact integers."""
    assert table.column_names == [*COLUMNS, "arrivals_ns", "tokens"]
    for name in COLUMNS:
        written = ["" if value is None else str(value) for value in table[name].to_pylist()]
        assert written == [row[name] for row in csv_rows], name
    assert table["server_last_token_ns"].to_pylist()[1] == 2**61
    assert table.schema.field("due_ns").type == pa.int64()


def test_parquet_keeps_every_token(table):
    """The arrivals and the tokens of each message are there too."""
    expected = [record for run in runs() for record in run.records]

    assert table["arrivals_ns"].to_pylist() == [list(r.arrivals_ns) for r in expected]
    assert table["tokens"].to_pylist() == [list(r.tokens) for r in expected]


def test_without_pyarrow_it_says_how_to_get_it(monkeypatch):
    """CSV needs nothing; Parquet names its extra."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    assert requests_csv(runs())
    with pytest.raises(MissingRequirementError, match=r"perfgate\[parquet\]"):
        requests_parquet(runs())
