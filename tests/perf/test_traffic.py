"""Long prompts among short ones: what they do to everybody else's tokens."""

import pytest

pytestmark = pytest.mark.sweep


def test_chunked_context_shortens_the_stalls(measure, setting):
    """Cut into chunks, a long prompt no longer holds up every answer that is being written."""
    whole, chunked = (
        measure(setting.suite.point(point)) for point in ("fp8-b64-mixed", "fp8-b64-mixed-chunked")
    )

    assert whole.vetoes == chunked.vetoes == ()
    assert chunked.itl_s.p99 < whole.itl_s.p99 / 2
