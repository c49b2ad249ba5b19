"""No point is slower than the accepted runs of its baseline."""

import pytest

DEFAULT = [
    "fp16-b16-c16",
    "fp8-b16-c16",
    "fp8-prefill",
    "fp8-decode",
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


@pytest.mark.parametrize(
    "point",
    [
        *(pytest.param(point, marks=pytest.mark.perf) for point in DEFAULT),
        *(pytest.param(point, marks=pytest.mark.sweep) for point in ON_REQUEST),
    ],
    indirect=True,
)
def test_point_is_no_slower_than_its_baseline(judgement, require):
    """Throughput and P95 latency are within the policy's margin of the recorded runs."""
    require(judgement, "baseline")
