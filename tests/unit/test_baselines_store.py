"""Baseline files."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perfgate import codec
from perfgate.baselines import (
    cells,
    empty,
    find,
    find_cell,
    load,
    path_of,
    record,
    record_into,
    save,
    table,
)
from perfgate.baselines.store import digest_of
from perfgate.errors import BaselineError
from perfgate.model import Baseline, Policy, Precision
from tests.unit.factories import a_cell, a_claim, a_fingerprint, a_measurement, a_point, a_sample

pytestmark = pytest.mark.unit

POINT = a_point(claim=a_claim())
KEY = ("gb10-sim", "llm-7b", Precision.FP8)


def recorded(root, points=(POINT,), measurements=(), hardware="gb10-sim"):
    """Record into files with the same provenance everywhere."""
    return record_into(
        root, hardware, points, measurements, policy=Policy(), session="s1", commit="c1"
    )


CELLS = st.builds(
    a_cell,
    st.none() | st.floats(1, 1e6),
    st.none() | st.floats(1e-3, 1e6),
    st.lists(st.builds(a_sample, st.floats(1, 1e6), st.floats(1e-3, 1e3))).map(tuple),
    st.dictionaries(st.text(), st.text()),
)


@settings(deadline=None)  # each example waits for the disk
@given(st.dictionaries(st.text(), CELLS, max_size=3))
def test_a_stored_baseline_is_read_back_as_it_was(tmp_path_factory, known):
    """Nothing is lost or rounded on the way."""
    baseline = Baseline(
        schema_version=1, hardware=KEY[0], model=KEY[1], precision=KEY[2], cells=known
    )
    root = tmp_path_factory.mktemp("baselines")

    assert replace(load(save(root, baseline)), digest="") == baseline


def test_a_file_diffs_well(tmp_path):
    """Keys are sorted, and each run stands on one line."""
    runs = [a_measurement(POINT), a_measurement(POINT, started_at="2026-02-01T00:00:00+00:00")]
    (path,) = recorded(tmp_path, measurements=runs)
    lines = path.read_text().splitlines()

    assert path == tmp_path / "gb10-sim" / "llm-7b-fp8.json"
    assert [line.strip()[:11] for line in lines if "latency_p95_s" in line] == ['{"commit": '] * 2
    keys = list(json.loads(path.read_text()))
    assert keys == sorted(keys)


def test_points_of_two_precisions_go_to_two_files(tmp_path):
    """One file a model and precision, made from claims alone."""
    fp16 = a_point("fp16-b16-c16", precision=Precision.FP16, claim=a_claim(300, 7.2))

    paths = recorded(tmp_path, points=(POINT, fp16))

    assert [path.name for path in paths] == ["llm-7b-fp8.json", "llm-7b-fp16.json"]
    assert load(paths[1]).cells["fp16-b16-c16"].floor_tok_s == 300


def test_points_of_which_nothing_is_known_make_no_file(tmp_path):
    """Without a claim or a run there is nothing to expect."""
    assert recorded(tmp_path, points=[a_point()]) == []
    assert list(tmp_path.iterdir()) == []


def test_a_refused_run_leaves_every_file_as_it_was(tmp_path):
    """Recording is all or nothing."""
    fp16 = a_point("fp16-b16-c16", precision=Precision.FP16)

    with pytest.raises(BaselineError):
        recorded(tmp_path, measurements=[a_measurement(POINT), a_measurement(fp16, p95_s=None)])

    assert list(tmp_path.iterdir()) == []


def test_the_measured_points_cell_is_found(tmp_path):
    """A measurement finds what is expected of it by hardware, model, precision and point."""
    recorded(tmp_path, measurements=[a_measurement(POINT)])

    assert find_cell(tmp_path, a_measurement(POINT)).floor_tok_s == 3000
    assert find_cell(tmp_path, a_measurement(a_point("fp8-new"))) is None
    assert find(tmp_path, "gb10-sim", "llm-7b", Precision.FP16) is None


def test_cells_are_found_for_all_points_at_once(tmp_path):
    """Points of both precisions are looked up; those nothing is known of are left out."""
    fp16 = a_point("fp16-b16-c16", precision=Precision.FP16, claim=a_claim(300, 7.2))
    recorded(tmp_path, points=(POINT, fp16))

    found = cells(tmp_path, "gb10-sim", [POINT, fp16, a_point("fp8-new")])

    assert {point: cell.floor_tok_s for point, cell in found.items()} == {
        "fp8-b192-c160": 3000,
        "fp16-b16-c16": 300,
    }


def test_simulated_runs_do_not_see_hardware_baselines(tmp_path):
    """A simulated run has no cell in the hardware's file, and cannot be relabelled to get one."""
    recorded(tmp_path, hardware="gb10")
    mislabelled = a_measurement(fingerprint=a_fingerprint())
    object.__setattr__(mislabelled.fingerprint, "hardware", "gb10")

    assert find_cell(tmp_path, a_measurement(POINT)) is None
    with pytest.raises(BaselineError, match="simulated"):
        find_cell(tmp_path, mislabelled)


def test_a_missing_file_says_how_to_make_it(tmp_path):
    """`load` names the path and the command."""
    with pytest.raises(BaselineError, match=r"fp8\.json does not exist.*perfgate baseline record"):
        load(path_of(tmp_path, *KEY))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "truncated.*version control"),
        ('{"schema_version": 99}', "schema version 99, this perfgate reads 1. Update perfgate"),
        ('{"schema_version": 0}', "schema version 0.*Record it again"),
        ("[]", "Expected `object`"),
        ('{"schema_version": 1}', "missing required field"),
    ],
)
def test_a_file_of_another_kind_is_refused_with_what_to_do(tmp_path, text, reason):
    """Damaged, older and newer files each have their own cure."""
    path = path_of(tmp_path, *KEY)
    path.parent.mkdir()
    path.write_text(text)

    with pytest.raises(BaselineError, match=reason):
        load(path)


def test_a_copied_file_is_refused(tmp_path):
    """A baseline says for what it was recorded: a simulated one cannot pose as hardware."""
    copy = path_of(tmp_path, "gb10", "llm-7b", Precision.FP8)
    copy.parent.mkdir()
    copy.write_bytes(save(tmp_path, empty(*KEY)).read_bytes())

    with pytest.raises(BaselineError, match="Baselines are recorded, never copied"):
        load(copy)


def test_the_table_shows_limits_and_medians():
    """One line a point; what is unknown is a dash."""
    runs = [a_measurement(POINT), a_measurement(POINT, throughput_tok_s=3050.0)]
    unmeasured = a_point("fp8-b64-c64", claim=a_claim(1493.0, None))
    baseline = record(
        empty(*KEY), [POINT, unmeasured], runs, policy=Policy(), session="s", commit="c"
    )

    title, _, best, claimed, note = table([baseline], today=date(2026, 1, 3)).splitlines()
    assert title == "gb10-sim: llm-7b fp8"
    assert best.split() == ["fp8-b192-c160", "3000", "7", "2", "3040", "6.8", "field", "report"]
    assert claimed.split()[:6] == ["fp8-b64-c64", "1493", "-", "0", "-", "-"]
    assert note.strip() == "fp8-b192-c160 cannot screen: 1 of 10 sessions"


def test_files_from_before_phases_were_kept_still_hold_their_digest(tmp_path):
    """What samples have gained since is absent from older files: no digest breaks over it."""
    baseline = replace(empty(*KEY), cells={"p": a_cell(samples=(a_sample(),))})
    path = save(tmp_path, baseline)
    text = json.loads(path.read_text(encoding="utf-8"))

    assert "prefill_s" not in text["cells"]["p"]["samples"][0]
    digest = text.pop("digest")
    assert digest == hashlib.sha256(codec.to_json(text | {"digest": ""})).hexdigest()
    assert load(path).digest == digest_of(load(path)) == digest


def test_the_phases_of_a_run_are_part_of_the_digest(tmp_path):
    """Once recorded they cannot be edited by hand unseen."""
    one, other = (
        replace(
            empty(*KEY),
            cells={"p": a_cell(samples=(a_sample(decode_step_s=seconds),))},
        )
        for seconds in (0.05, 0.06)
    )

    assert digest_of(one) != digest_of(other)
    assert load(save(tmp_path, one)).cells == one.cells
