"""What a base is: a ref or folder that is served as it would be, or another running server."""

import subprocess
from dataclasses import replace

import pytest

from perfgate.base_ref import base_setting
from perfgate.errors import UsageError
from perfgate.hardware import load_profile
from perfgate.model import Target
from perfgate.serving.remote import parse_url
from perfgate.setting import Setting
from perfgate.suite import load_suite
from perfgate.trtllm import load_trtllm
from tests.unit.planted import ROOT

pytestmark = pytest.mark.unit

POINT = "fp8-b192-c160"


def git(root, *arguments):
    """Run git as somebody."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    command = ["git", "-C", root, *identity, *arguments]
    subprocess.run(command, check=True, capture_output=True)


def commit(root, message):
    """Commit all that lies there."""
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)


@pytest.fixture
def repository(tmp_path):
    """A suite in git whose second commit changes a batch size."""
    root = tmp_path / "suite"
    (root / "hardware").mkdir(parents=True)
    for name in ("points.toml", "policy.toml", "hardware/gb10.toml"):
        (root / name).write_text((ROOT / name).read_text())

    git(root, "init", "-q")
    commit(root, "one")
    git(root, "tag", "first")
    points = root / "points.toml"
    points.write_text(points.read_text().replace("max_batch_size = 192", "max_batch_size = 128"))
    return root


def a_setting(root):
    """The simulated target over a suite."""
    return Setting(
        suite=load_suite(root),
        target=Target.SIM,
        profile=load_profile(root / "hardware" / "gb10.toml"),
        artifacts=root / "artifacts",
    )


@pytest.mark.parametrize("base", ["first", "HEAD"])
def test_a_git_ref_gives_the_engines_of_that_ref(repository, base):
    """The base has the ref's engine, the candidate what is checked out; both one policy."""
    candidate = a_setting(repository)
    setting = base_setting(candidate, base)

    assert candidate.suite.point(POINT).engine.max_batch_size == 128
    assert setting.suite.point(POINT).engine.max_batch_size == 192
    assert setting.suite.policy == candidate.suite.policy
    assert setting.suite.root.is_relative_to(candidate.cache)


def test_a_folder_is_read_where_it_lies(repository):
    """A suite in a folder is a base without git."""
    assert base_setting(a_setting(repository), str(repository)).suite.root == repository


@pytest.mark.parametrize("base", ["nowhere", "--upload-pack=x", "/"])
def test_what_is_neither_is_refused(repository, base):
    """A misspelt ref, an option in disguise and a folder without a suite are usage errors."""
    with pytest.raises(UsageError, match="--base"):
        base_setting(a_setting(repository), base)


def test_what_git_does_not_hold_is_the_candidate_s(repository):
    """Checkpoints and built engines are shared; the container is the ref's own."""
    pinned = repository / "trtllm.toml"
    pinned.write_text((ROOT / "trtllm.toml").read_text())
    commit(repository, "two")
    pinned.write_text(pinned.read_text().replace("samples = 512", "samples = 64"))
    candidate = replace(a_setting(repository), trtllm=load_trtllm(repository))

    base = base_setting(candidate, "HEAD")

    assert base.cache == candidate.cache
    assert base.home == repository
    assert (base.trtllm.calibration.samples, candidate.trtllm.calibration.samples) == (512, 64)
    assert base_setting(candidate, "first").trtllm == candidate.trtllm  # it said nothing of it


def test_an_older_ref_is_served_whatever_it_was_judged_by(repository):
    """Claims and policy of a base are never used, so their older forms are no obstacle."""
    points = repository / "points.toml"
    points.write_text(points.read_text().replace('hardware = "gb10", ', ""))
    (repository / "policy.toml").write_text("no_longer_known = 1\n")
    commit(repository, "two")
    for name in ("points.toml", "policy.toml"):
        (repository / name).write_text((ROOT / name).read_text())

    base = base_setting(a_setting(repository), "HEAD")

    assert base.suite.point(POINT).claim is None
    assert base.suite.policy == a_setting(repository).suite.policy


def test_a_checkout_of_perfgate_is_served_from_its_own_templates(repository):
    """Where the base holds perfgate's sources, they set its servers up."""
    assert base_setting(a_setting(repository), "HEAD").sources is None
    template = repository / "src" / "perfgate" / "serving" / "render.py"
    template.parent.mkdir(parents=True)
    template.write_text("")
    commit(repository, "two")

    base = base_setting(a_setting(repository), "HEAD")

    assert base.sources == base.suite.root / "src"


def a_remote_setting(root, url="grpc://staging:8001"):
    """A server that somebody else runs."""
    return replace(a_setting(root), target=Target.REMOTE, remote=parse_url(url))


def test_a_running_server_is_paired_with_another_one(repository):
    """Both are found by their URLs; the load is this suite's for both."""
    candidate = a_remote_setting(repository)
    base = base_setting(candidate, "grpc://production:8001")

    assert base.remote.grpc_url == "production:8001"
    assert base.suite == candidate.suite


@pytest.mark.parametrize(
    ("remote", "base", "rule"),
    [
        (True, "HEAD", "pair it with another one"),
        (True, "grpc://staging:8001", "the candidate itself"),
        (True, "http://production:8000", "same protocol"),
        (False, "grpc://staging:8001", "--triton-url"),
    ],
    ids=["a ref", "itself", "another protocol", "no candidate"],
)
def test_a_pair_that_is_none_is_refused(repository, remote, base, rule):
    """A ref cannot be booted behind somebody's URL, and a server is no base of itself."""
    candidate = a_remote_setting(repository) if remote else a_setting(repository)

    with pytest.raises(UsageError, match=rule):
        base_setting(candidate, base)
