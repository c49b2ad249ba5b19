"""The files a run leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from perfgate import artifacts
from perfgate.errors import RecordsError
from perfgate.gate import judge
from perfgate.model import Comparison, ComparisonKind, Policy, Veto
from perfgate.sweep.content import SweepFile
from tests.unit.factories import a_cell, a_measurement, a_run_info
from tests.unit.sweep_samples import Rigs, a_sweep

pytestmark = pytest.mark.unit

DOCS = Path(__file__).parents[2] / "docs" / "schema"
MEASURED = artifacts.MeasurementsFile(
    run=a_run_info(),
    measurements=(a_measurement(), a_measurement(vetoes=(Veto(rule="r", message="m"),))),
    comparisons=(Comparison(id="q", kind=ComparisonKind.SPEEDUP, point="a", against="b"),),
    unmeasured={"fp8-b64-c64": "Triton died"},
)
JUDGED = artifacts.VerdictsFile(
    run=a_run_info(), policy=Policy(), judgements=(judge(a_measurement(), a_cell(), Policy()),)
)

SWEPT = SweepFile(
    run=a_run_info(), engines=(a_sweep(Rigs(vetoed={8: (Veto(rule="r", message="m"),)})),)
)


def test_measurements_are_read_back_as_they_were(tmp_path):
    """Storing loses nothing."""
    artifacts.save_measurements(tmp_path, MEASURED)

    assert artifacts.load_measurements(tmp_path) == MEASURED


def test_a_sweep_is_read_back_as_it_was(tmp_path):
    """Bands, reasons and vetoed measurements survive; where there is none, there is none."""
    assert artifacts.load_sweep(tmp_path) is None

    artifacts.save_sweep(tmp_path, SWEPT)

    assert artifacts.load_sweep(tmp_path) == SWEPT


def test_verdicts_are_read_back_as_they_were(tmp_path):
    """Findings, numbers and policy survive."""
    artifacts.save_verdicts(tmp_path, JUDGED)

    assert artifacts.load_verdicts(tmp_path) == JUDGED


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('{"schema_version": 3}', "schema version 3, this perfgate reads 2. Update perfgate"),
        ('{"schema_version": 0}', "the perfgate that wrote it"),
        ("no", "The file is damaged"),
        ('{"schema_version": 2}', "missing required field"),
    ],
)
def test_other_formats_are_refused_with_what_to_do(tmp_path, text, reason):
    """A file of another version is not guessed at."""
    (tmp_path / artifacts.VERDICTS).write_text(text)

    with pytest.raises(RecordsError, match=reason):
        artifacts.load_verdicts(tmp_path)


def test_a_folder_without_the_file_says_what_is_missing(tmp_path):
    """The user named the wrong folder, or the run never finished."""
    with pytest.raises(RecordsError, match=r"measurements\.json does not exist"):
        artifacts.load_measurements(tmp_path)


@pytest.mark.parametrize("name", artifacts.schemas())
def test_the_documented_schemas_are_the_generated_ones(name):
    """A changed field changes docs/schema: `perfgate.artifacts.write_schemas` writes it."""
    assert (DOCS / name).read_bytes() == artifacts.schemas()[name]


def test_the_schemas_describe_the_stored_files(tmp_path):
    """Every stored top-level field is in its schema."""
    stored = {
        "measurements.schema.json": artifacts.save_measurements(tmp_path, MEASURED),
        "verdicts.schema.json": artifacts.save_verdicts(tmp_path, JUDGED),
        "sweep.schema.json": artifacts.save_sweep(tmp_path, SWEPT),
    }
    for name, path in stored.items():
        schema = json.loads(artifacts.schemas()[name])
        kind = schema["$defs"][schema["$ref"].rpartition("/")[2]]
        assert set(json.loads(path.read_text())) == set(kind["properties"])
