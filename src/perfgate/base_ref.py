"""The base of a paired run: a git ref, a folder, or the address of a second server."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from perfgate.errors import UsageError
from perfgate.hardware import load_profile
from perfgate.model import Server, Target
from perfgate.serving.remote import SCHEMES, parse_url
from perfgate.setting import HARDWARE, Setting
from perfgate.suite import POINTS_FILE, load_suite
from perfgate.trtllm import CONFIG_FILE, MODELS, TrtllmConfig, load_trtllm

BASES = "bases"
SOURCES = "src"
_RENDER = "perfgate/serving/render.py"  # older ones could not be asked


def base_setting(candidate: Setting, base: str) -> Setting:
    """The setting of the base: what is served is `base`'s, what measures and judges is today's.

    Served are its engines, its hardware profile, its container and checkpoints (trtllm.toml) and,
    where it is a checkout of perfgate itself, its model repository. A folder is read where it lies.
    A git ref is unpacked below the cache, under its commit; what git does not hold, checkpoints and
    engines that are built already, it shares with the candidate. The policy is the candidate's:
    vetoes must not depend on the arm. A server that runs is paired with another one, by its URL.

    Raises UsageError if `base` is none of these, or holds no suite.
    """
    if candidate.remote is not None or base.startswith(SCHEMES):
        return replace(candidate, remote=_other_server(candidate, base))
    root = _folder(candidate, base)
    sources = root / SOURCES
    return replace(
        candidate,
        suite=replace(
            load_suite(root, judged_by=candidate.suite.policy), load=candidate.suite.load
        ),
        profile=load_profile(root / HARDWARE / f"{candidate.profile.name}.toml"),
        trtllm=_trtllm(candidate, root),
        local=root if (root / MODELS).is_dir() else candidate.home,
        sources=sources if (sources / _RENDER).is_file() else None,
    )


def _trtllm(candidate: Setting, root: Path) -> TrtllmConfig | None:
    """What the base's engines are made of; today's, where the base does not say."""
    known = candidate.trtllm is not None and (root / CONFIG_FILE).is_file()
    return load_trtllm(root) if known else candidate.trtllm


def _other_server(candidate: Setting, base: str) -> Server:
    if candidate.target is not Target.REMOTE or candidate.remote is None:
        rule = "a running server is the base of another one: name the candidate by --triton-url"
        raise UsageError("--base", base, rule)
    if not base.startswith(SCHEMES):
        rule = "--triton-url names a running server: pair it with another one, by its URL"
        raise UsageError("--base", base, rule)
    server = parse_url(base)
    if server == candidate.remote:
        raise UsageError("--base", base, "it is the candidate itself")
    if server.protocol is not candidate.remote.protocol:
        rule = f"ask both by the same protocol; --triton-url says {candidate.remote.protocol}"
        raise UsageError("--base", base, rule)
    return server


def _folder(candidate: Setting, base: str) -> Path:
    folder = Path(base)
    if (folder / POINTS_FILE).is_file():
        return folder.resolve()
    root = candidate.suite.root
    target = candidate.cache / BASES / _commit(root, base)
    if not (target / POINTS_FILE).is_file():
        _unpack(root, base, target)
    return target


def _commit(root: Path, ref: str) -> str:
    rule = f"it must be a git ref of {root} or a folder that holds {POINTS_FILE}"
    if ref.startswith("-"):
        raise UsageError("--base", ref, rule)
    found = _git(root, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}")
    if found.returncode:
        raise UsageError("--base", ref, rule)
    return found.stdout.decode().strip()


def _unpack(root: Path, ref: str, target: Path) -> None:
    archive = _git(root, "archive", "--format=tar", ref)
    if archive.returncode:
        raise UsageError("--base", ref, archive.stderr.decode().strip() or "git cannot read it")
    target.mkdir(parents=True, exist_ok=True)
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(target, filter="data")  # nothing leaves the folder
    if not (target / POINTS_FILE).is_file():
        raise UsageError("--base", ref, f"it holds no {POINTS_FILE}")


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        ["git", "-C", str(root), *arguments],  # noqa: S607 - the user's own git
        capture_output=True,
        check=False,
        timeout=120,
    )
