"""The base of a paired run: a git ref, a folder, or the address of a second server."""

from __future__ import annotations

import io
import subprocess
import tarfile
from dataclasses import replace
from pathlib import Path

from perfgate.errors import UsageError
from perfgate.hardware import load_profile
from perfgate.setting import HARDWARE, Setting
from perfgate.suite import POINTS_FILE, load_suite

BASES = "bases"


def base_setting(candidate: Setting, base: str) -> Setting:
    """The setting of the base: the suite and hardware profile of `base`, judged by today's rules.

    A folder is read where it lies. A git ref is unpacked below the cache, under its commit, so that
    its engines are built once. The policy is the candidate's: vetoes must not depend on the arm.

    Raises UsageError if `base` is neither, or holds no suite.
    """
    root = _folder(candidate, base)
    suite = load_suite(root)
    return replace(
        candidate,
        suite=replace(suite, policy=candidate.suite.policy),
        profile=load_profile(root / HARDWARE / f"{candidate.profile.name}.toml"),
    )


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
