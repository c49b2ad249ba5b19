"""Request latency stays under its P95 ceiling, and P95 stays near the median."""

import pytest

DEFAULT = [
    "fp16-b16-c16",
    "fp8-b16-c16",
    "fp8-b64-c64",
    "fp8-b192-c32",
    "fp8-b192-c96",
    "fp8-b192-c128",
    "fp8-b192-c160",
    "fp8-b192-c192",
]
ON_REQUEST = [
    "fp8-b192-c1",
    "fp8-b192-c2",
    "fp8-b192-c4",
    "fp8-b192-c8",
    "fp8-b192-c16",
    "fp8-b192-c64",
    "fp8-b192-c256",
]
POINTS = [
    *(pytest.param(point, marks=pytest.mark.perf) for point in DEFAULT),
    *(pytest.param(point, marks=pytest.mark.sweep) for point in ON_REQUEST),
]


@pytest.mark.parametrize("point", POINTS, indirect=True)
def test_p95_latency_stays_under_its_ceiling(judgement, require):
    """Nineteen of twenty requests are answered within the ceiling of their concurrency."""
    require(judgement, "ceiling")


@pytest.mark.parametrize("point", POINTS, indirect=True)
def test_latency_is_flat(judgement, require):
    """P95 lies within a tenth of the median: no request waits while others are served."""
    require(judgement, "stability")
