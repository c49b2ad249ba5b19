"""What precision and batch size are worth, from points of the same run."""

import pytest

pytestmark = pytest.mark.perf


@pytest.mark.parametrize("answer", ["fp8-over-fp16"], indirect=True)
def test_fp8_is_faster_than_fp16(answer, require):
    """At equal concurrency FP8 reaches the policy's multiple of FP16's throughput."""
    require(answer, "speedup")


@pytest.mark.parametrize("answer", ["starved-batch"], indirect=True)
def test_a_small_batch_starves_the_engine(answer, require):
    """With max_batch_size under the concurrency, requests queue and throughput is capped."""
    require(answer, "capped")
    require(answer, "queued")
