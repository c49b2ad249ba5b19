"""Output token throughput reaches its floor: 300, 500, 1493 and 3000 tokens/s."""

import pytest

pytestmark = pytest.mark.perf


@pytest.mark.parametrize(
    "point",
    ["fp16-b16-c16", "fp8-b16-c16", "fp8-b64-c64", "fp8-b192-c160"],
    indirect=True,
)
def test_throughput_reaches_its_floor(judgement, require):
    """What the hardware once reached at this point, it still reaches."""
    require(judgement, "floor")
