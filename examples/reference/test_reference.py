"""A real model behind a real Triton: what every engine must show."""

from pathlib import Path

import pytest

from perfgate.records import read_run

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("point", ["fp16-b8-c8", "fp8-b8-c8"], indirect=True)
def test_the_measurement_can_be_believed(measurement):
    """No veto: token counts, Little's law and the client's own audit agree."""
    load = measurement.point.workload
    requests = read_run(Path(measurement.records)).records

    assert measurement.vetoes == ()
    assert not measurement.fingerprint.simulated
    assert len(requests) >= measurement.requests
    # A client's first request is shorter, so that they do not end together.
    assert all(one.output_tokens == one.expected_output_tokens for one in requests)
    # The window counts tokens that arrived in it: its edges cut through the clients' iterations.
    off = abs(measurement.output_tokens - measurement.requests * load.osl)
    assert off <= load.concurrency
