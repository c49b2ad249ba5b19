"""The CI workflows: of the schema, careful with the GPU, and true to the gate's exit codes."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[2]
GITHUB = ROOT / ".github"
WORKFLOWS = sorted((GITHUB / "workflows").glob("*.yml"))


def workflow(name):
    """A workflow as data; YAML reads the key `on` as true."""
    return yaml.safe_load((GITHUB / "workflows" / name).read_text())


def step(name):
    """The step of that name of the measuring job."""
    steps = workflow("perf.yml")["jobs"]["measure"]["steps"]
    (found,) = [one for one in steps if one.get("name") == name]
    return found


def bash(script, folder, **environment):
    """Run a step's script as GitHub does."""
    return subprocess.run(
        ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script],  # noqa: S607
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", **environment},
        check=False,
        capture_output=True,
        text=True,
    )


def requeue(tmp_path, code, attempt):
    """What the re-queue script says of a run."""
    path = tmp_path / "exit-code"
    if code is not None:
        path.write_text(f"{code}\n")
    command = [sys.executable, GITHUB / "requeue.py", "--attempt", str(attempt)]
    told = subprocess.run(
        [*command, "--exit-code-file", path], check=True, capture_output=True, text=True
    )
    return dict(line.split("=", 1) for line in told.stdout.splitlines())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_workflow_follows_github_s_schema(path):
    """The schema that check-jsonschema has built in accepts it."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
    checked = subprocess.run(
        [*command, "vendor.github-workflows", path], check=False, capture_output=True, text=True
    )

    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_all_workflows_are_there():
    """The three that are documented, and no other."""
    assert [path.name for path in WORKFLOWS] == ["perf-requeue.yml", "perf.yml", "unit.yml"]


def test_one_job_owns_the_gpu():
    """Runs queue up behind each other on the labelled runner; none is cancelled half way."""
    job = workflow("perf.yml")["jobs"]["measure"]

    assert job["concurrency"] == {"group": "gb10", "cancel-in-progress": False}
    assert {"self-hosted", "gb10"} <= set(job["runs-on"])


def test_a_run_that_measures_nothing_does_not_queue():
    """GitHub keeps one run waiting: any label on a pull request would push a real one away."""
    perf = workflow("perf.yml")

    assert "concurrency" not in perf
    assert "if" in perf["jobs"]["measure"]


def test_what_an_earlier_run_left_is_gone_before_anything_can_fail(tmp_path):
    """The workspace outlives a run: an old exit code would have a broken job queued again."""
    first = workflow("perf.yml")["jobs"]["measure"]["steps"][0]
    (tmp_path / "artifacts").mkdir()
    (tmp_path / "artifacts" / "exit-code").write_text("4\n")

    assert bash(first["run"], tmp_path).returncode == 0
    assert not (tmp_path / "artifacts").exists()


def test_the_container_is_pinned_and_told():
    """A tag that moves would change what is measured; the run records which image it was in."""
    container = workflow("perf.yml")["jobs"]["measure"]["container"]

    assert re.fullmatch(
        r"nvcr\.io/nvidia/tritonserver:\d\d\.\d\d-trtllm-python-py3", container["image"]
    )
    assert container["env"]["PERFGATE_CONTAINER"] == container["image"]


def test_the_container_is_the_one_the_engines_are_pinned_to():
    """What CI runs in is what trtllm.toml says that engines are made with."""
    pinned = tomllib.loads((ROOT / "trtllm.toml").read_text())

    assert workflow("perf.yml")["jobs"]["measure"]["container"]["image"] == pinned["container"]


def test_a_stranger_s_code_does_not_reach_the_runner():
    """A pull request is measured only once it was labelled, and the job may write nothing."""
    perf = workflow("perf.yml")

    assert perf[True]["pull_request"] == {"types": ["labeled"]}
    assert "label.name == 'performance'" in perf["jobs"]["measure"]["if"]
    assert perf["permissions"] == {"contents": "read"}


def test_a_machine_without_the_hardware_is_an_error():
    """The job never measures a simulation instead."""
    assert "--require-hardware" in step("Measure")["run"]


@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 5])
def test_the_job_ends_with_the_judge_s_exit_code(tmp_path, code):
    """Whatever pytest said, the verdict is the job's, and the re-queue can read it."""
    judge = tmp_path / ".venv" / "bin" / "perfgate"
    judge.parent.mkdir(parents=True)
    judge.write_text(f"#!/bin/sh\nexit {code}\n")
    judge.chmod(0o755)

    assert step("Measure")["continue-on-error"] is True
    assert bash(step("Judge")["run"], tmp_path).returncode == code
    assert (tmp_path / "artifacts" / "exit-code").read_text() == f"{code}\n"


@pytest.mark.parametrize(
    ("report", "shown"), [("## Performance", "## Performance"), (None, "Nothing")]
)
def test_the_summary_is_the_report(tmp_path, report, shown):
    """The report stands on the job's page; without one, that is said."""
    (tmp_path / "artifacts").mkdir()
    if report:
        (tmp_path / "artifacts" / "report.md").write_text(report)

    done = bash(step("Summary")["run"], tmp_path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))

    assert done.returncode == 0
    assert (tmp_path / "summary").read_text().startswith(shown)
    assert step("Summary")["if"] == "always()"
    assert step("Keep the artefacts")["if"] == "always()"


@pytest.mark.parametrize(
    ("code", "attempt", "again"),
    [(3, 1, "true"), (4, 1, "true"), (3, 2, "false"), (4, 2, "false"), (4, 3, "false")]
    + [(code, 1, "false") for code in (0, 1, 2, 5, None)],
)
def test_a_run_that_could_not_tell_is_queued_once_more(tmp_path, code, attempt, again):
    """INCONCLUSIVE and INVALID get a second attempt and no third; an answer gets none."""
    told = requeue(tmp_path, code, attempt)

    assert told["again"] == again
    assert told["reason"]


def test_the_requeue_follows_the_gate_by_name():
    """It waits for the workflow of that name, reruns that very run, and only if told to."""
    again = workflow("perf-requeue.yml")
    steps = again["jobs"]["requeue"]["steps"]

    assert again[True]["workflow_run"]["workflows"] == [workflow("perf.yml")["name"]]
    assert steps[-1]["if"] == "steps.decide.outputs.again == 'true'"
    assert "gh run rerun" in steps[-1]["run"]
    assert steps[1]["with"]["name"] == step("Keep the artefacts")["with"]["name"]
