"""The table of tritonserver's flags is what a real tritonserver says of itself."""

import re
import subprocess

import pytest

from perfgate.engines.flags import tables
from perfgate.serving.triton import find_triton

pytestmark = pytest.mark.triton


def test_every_flag_of_the_table_is_in_the_server_s_own_help():
    """So that no plan is allowed a flag which the server would refuse."""
    install = find_triton()
    told = subprocess.run(
        [install.binary, "--help"],
        env=install.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    known = set(re.findall(r"^\s*(--[a-z-]+)", told.stdout + told.stderr, re.MULTILINE))

    assert len(known) > 50
    assert set(tables().tools["tritonserver"].flags) <= known


def test_a_flag_that_is_in_no_table_is_refused_by_the_server_as_well():
    """The checker's refusal is the server's own, only earlier."""
    install = find_triton()
    ended = subprocess.run(
        [install.binary, "--model-repositories=/nowhere"],
        env=install.environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode != 0
    assert "model-repositories" in ended.stdout + ended.stderr
