"""Which GPUs there are, and that no two runs measure on the same one."""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate import gpus
from perfgate.errors import MissingRequirementError
from perfgate.gpus import VISIBLE, Gpu, claim, gpu_count, list_gpus, parse_listing, visible
from perfgate.model import Target
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

LISTING = "0, NVIDIA GB10, 12.1, 580.95.05, GPU-aa00\n1, NVIDIA GB10, 12.1, 580.95.05, GPU-bb11\n"
TWO = parse_listing(LISTING)
HOLDER = """
import sys
from pathlib import Path
from perfgate.gpus import claim, parse_listing
with claim(parse_listing(sys.argv[2]), Path(sys.argv[1])) as gpu:
    print(gpu.index, flush=True)
    sys.stdin.read()
"""


def test_the_driver_s_lines_are_read():
    """Index, name, capability, driver, UUID."""
    assert TWO[1] == Gpu(
        index=1,
        name="NVIDIA GB10",
        compute_capability="12.1",
        driver="580.95.05",
        uuid="GPU-bb11",
    )


@given(st.text(max_size=80))
def test_any_other_text_is_no_gpu_and_no_crash(text):
    """A driver that does not answer says so in words."""
    assert all(isinstance(gpu.index, int) for gpu in parse_listing(text))
    assert parse_listing("NVIDIA-SMI has failed because it couldn't communicate\n") == ()


def test_a_machine_without_a_driver_has_no_gpu(monkeypatch):
    """No nvidia-smi, none; one that fails, none."""
    monkeypatch.setenv("PATH", "/nonexistent")
    assert list_gpus() == ()


@pytest.mark.parametrize(
    ("setting", "indices"),
    [
        (None, [0, 1]),
        ("1", [1]),
        ("1, 0", [1, 0]),
        ("GPU-bb11", [1]),
        ("GPU-b,0", [1, 0]),
        ("", []),
        ("7", []),
        ("1,7,0", [1]),
        ("GPU-abc", []),
        ("NoDevFiles", []),
    ],
    ids=str,
)
def test_what_is_hidden_is_not_used(setting, indices):
    """CUDA_VISIBLE_DEVICES is heeded, in its order, up to the first name that fits no GPU."""
    assert [gpu.index for gpu in visible(TWO, setting)] == indices


@pytest.mark.parametrize("before", [None, "0,1"])
def test_a_claimed_gpu_is_the_only_one_seen_until_it_is_let_go(tmp_path, monkeypatch, before):
    """Whatever this process starts sees that GPU; afterwards all is as it was."""
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)
    if before:
        monkeypatch.setenv(VISIBLE, before)
    with claim(TWO[1:], tmp_path) as gpu:
        assert os.environ[VISIBLE] == str(gpu.index) == "1"
        # CUDA counts by speed unless told to count as the driver does.
        assert os.environ["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"

    assert os.environ.get(VISIBLE) == before
    assert "CUDA_DEVICE_ORDER" not in os.environ


def test_each_of_two_runs_gets_its_own(tmp_path):
    """The second takes the second; a third is refused, and served once one is free."""
    with claim(TWO, tmp_path) as first:
        with claim(TWO, tmp_path) as second:
            assert (first.index, second.index) == (0, 1)
            with pytest.raises(
                MissingRequirementError, match=r"no GPU is free \(there are: 0, 1\)"
            ):
                claim(TWO, tmp_path).__enter__()
        with claim(TWO, tmp_path) as third:
            assert third.index == 1


def test_a_machine_whose_gpus_are_hidden_says_so(tmp_path):
    """Not that somebody else has them."""
    with pytest.raises(
        MissingRequirementError, match=r"no GPU is to be seen.*CUDA_VISIBLE_DEVICES"
    ):
        claim((), tmp_path).__enter__()


def test_a_claim_ends_with_its_process_however_that_ends(tmp_path):
    """A killed run leaves no GPU locked."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, tmp_path, LISTING.splitlines()[0]],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT / "src",
    )
    assert process.stdout.readline() == "0\n"
    with pytest.raises(MissingRequirementError):
        claim(TWO[:1], tmp_path).__enter__()

    process.kill()
    process.communicate()

    with claim(TWO[:1], tmp_path) as gpu:
        assert gpu.index == 0


@pytest.mark.parametrize(
    ("target", "found", "count"),
    [
        (Target.TRT_ENGINE, TWO, 2),
        (Target.LLMAPI, TWO[:1], 1),
        (Target.LLMAPI, (), 1),
        (Target.SIM, TWO, 1),
        (Target.REMOTE, TWO, 1),
    ],
    ids=["engines on two", "one", "none", "simulated", "remote"],
)
def test_as_many_tests_measure_at_once_as_there_are_gpus_of_ours(monkeypatch, target, found, count):
    """One GPU, one at a time; a simulated or a remote one too, whatever the machine has."""
    monkeypatch.setattr(gpus, "list_gpus", lambda: found)
    monkeypatch.delenv(VISIBLE, raising=False)

    assert gpu_count(target) == count
