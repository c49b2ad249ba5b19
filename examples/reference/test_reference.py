"""A real model behind a real Triton: what every engine must show."""

import pytest

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("point", ["fp16-b8-c8", "fp8-b8-c8"], indirect=True)
def test_the_measurement_can_be_believed(measurement):
    """No veto: token counts, Little's law and the client's own audit agree."""
    assert measurement.vetoes == ()
    assert not measurement.fingerprint.simulated
    assert measurement.output_tokens == measurement.requests * measurement.point.workload.osl
