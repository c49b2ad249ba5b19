"""Runs on disk: exact, whole or refused."""

from __future__ import annotations

import gzip
import hashlib
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import RecordsError
from perfgate.model import GpuSample, ServerSample, Telemetry
from perfgate.records import read_run, write_run
from tests.unit.factories import a_claim, a_load_run, a_point, a_record, a_steady_run
from tests.unit.run_strategies import whole_records

pytestmark = pytest.mark.unit


@pytest.fixture
def stored(tmp_path):
    """A stored run of three requests."""
    return write_run(tmp_path, a_load_run([a_record(i) for i in range(3)], marks_ns=(1, 2)))


def test_a_run_comes_back_as_it_was(tmp_path):
    """A whole steady run with metrics and faults survives the round trip."""
    run = replace(
        a_steady_run(a_point("c4", concurrency=4)),
        server_before={'x{a="b"}': 0.1},
        server_after={"x": 1e300},
        telemetry=Telemetry(
            period_s=0.2,
            gpu=(GpuSample(at_ns=7, power_w=38.5, slowdowns=("power brake",), pids=(4,)),),
            server=(ServerSample(at_ns=7, kv_cache=0.25),),
            process_names={"4": "tritonserver"},
        ),
        faults=("a fault",),
    )

    path = write_run(tmp_path, run)

    assert path == tmp_path / "c4.jsonl.gz"
    assert read_run(path) == run


@given(st.lists(whole_records(), max_size=4))
def test_any_record_comes_back_as_it_was(tmp_path_factory, records):
    """Times in any order, any text, any counts: the round trip is exact."""
    run = a_load_run(records, marks_ns=())

    assert read_run(write_run(tmp_path_factory.mktemp("records"), run)) == run


def test_equal_runs_make_equal_files(tmp_path):
    """The file holds no time of writing, so that equal runs can be told by their bytes."""
    run = a_load_run([a_record()], marks_ns=(1, 2))

    first = write_run(tmp_path / "a", run).read_bytes()

    assert first == write_run(tmp_path / "b", run).read_bytes()
    assert first[4:8] == bytes(4)  # gzip's own time stamp


def test_a_value_that_is_none_is_left_out(tmp_path):
    """NaN, Prometheus' word for no value, does not become a number."""
    run = replace(a_load_run([], marks_ns=()), server_after={"x": float("nan"), "y": 1.0})

    assert read_run(write_run(tmp_path, run)).server_after == {"y": 1.0}


def test_a_missing_file_is_named(tmp_path):
    """A run that was not stored is an error that names the file."""
    with pytest.raises(RecordsError, match=r"gone\.jsonl\.gz: no such file"):
        read_run(tmp_path / "gone.jsonl.gz")


@pytest.mark.parametrize("keep", [0, 5, 40, -9, -1], ids=lambda keep: f"[:{keep}]")
def test_a_file_cut_short_is_refused(stored, keep):
    """Wherever the file ends early, reading it says so."""
    stored.write_bytes(stored.read_bytes()[:keep])

    with pytest.raises(RecordsError, match=str(stored)):
        read_run(stored)


def test_a_lost_request_is_counted(stored):
    """A line that is missing from a whole gzip file is found by the footer."""
    rewrite(stored, lambda lines: [*lines[:1], *lines[2:]])

    with pytest.raises(RecordsError, match="holds 2 requests, its footer says 3"):
        read_run(stored)


def test_an_altered_number_is_found(stored):
    """A changed digit is found by the checksum."""
    rewrite(stored, lambda lines: [lines[0].replace(b"gb10", b"gb11"), *lines[1:]])

    with pytest.raises(RecordsError, match="SHA-256 differs"):
        read_run(stored)


def test_a_lost_footer_is_found(stored):
    """A file without its footer is refused, not read up to there."""
    rewrite(stored, lambda lines: lines[:-1])

    with pytest.raises(RecordsError, match=str(stored)):
        read_run(stored)


@pytest.mark.parametrize(("version", "advice"), [(0, "measure again"), (5, "update perfgate")])
def test_another_version_says_what_to_do(stored, version, advice):
    """An older or newer form is refused with the way out."""
    stamp = f'"schema_version":{version}'.encode()
    rewrite(stored, lambda lines: [lines[0].replace(b'"schema_version":4', stamp), *lines[1:]])

    with pytest.raises(RecordsError, match=advice):
        read_run(stored)


def test_a_run_without_telemetry_is_still_read(tmp_path):
    """What version 1 stored, which knew no telemetry, comes back without any.

    Its claim named no hardware and is let go.
    """
    run = a_load_run([], marks_ns=(1, 2), point=a_point(claim=a_claim()))
    path = write_run(tmp_path, run)
    header, footer = gzip.decompress(path.read_bytes()).splitlines()
    old = header.replace(b'"schema_version":4', b'"schema_version":1')
    old = old.replace(b',"telemetry":null', b"").replace(b'"hardware":"gb10",', b"")
    digest = hashlib.sha256(old + b"\n").hexdigest().encode()
    footer = re.sub(rb'"sha256":"\w+"', b'"sha256":"%s"' % digest, footer)
    path.write_bytes(gzip.compress(b"\n".join([old, footer, b""])))

    assert b"telemetry" not in old
    assert read_run(path) == replace(run, point=a_point())


def rewrite(path, change):
    """Write the file's lines again, changed."""
    lines = gzip.decompress(path.read_bytes()).splitlines()
    path.write_bytes(gzip.compress(b"\n".join([*change(lines), b""])))
