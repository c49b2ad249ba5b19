"""With --base REF: this checkout is no slower than REF, both measured on this host in turn."""

import pytest

pytestmark = pytest.mark.perf


def test_candidate_is_no_slower_than_its_base(paired, require):
    """No primary cell of the policy lost more than its tolerance, with a known error rate."""
    require(paired, "paired")
