"""The proof: a real Prometheus scrapes the real Triton under load, and every query returns data.

    python -m dashboards.evaluate > docs/data/prometheus-evaluation.md

Runs one point of the perf run for its `perfgate.prom`, then serves the same engine to more clients
than its batch holds, and asks Prometheus for every panel's queries and every rule. Exit status 1 if
one of them fails or returns nothing. Takes about two minutes; all ports are free ones of loopback.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perfgate.serving.launch import guarded_argv, pick_ports

HERE = Path(__file__).parent
POINT, CLIENTS = "fp8-b16-c16", 24
FULL_RATES_S = 65.0  # rates over a minute have to have had one
PATIENCE_S = 240.0
# Debian's names first; upstream calls the exporter node_exporter.
PROGRAMS = {
    "prometheus": ("prometheus",),
    "exporter": ("prometheus-node-exporter", "node_exporter"),
}
PERFGATE = (sys.executable, "-c", "from perfgate.cli import main; main()")


@dataclass(frozen=True)
class Query:
    """One expression that somebody looks at: where it stands, and what Prometheus answered."""

    where: str
    expr: str
    answer: tuple[tuple[str, float], ...] = ()

    @property
    def value(self) -> str:
        """Some of the answer, for a table."""
        if not self.answer:
            return "**nothing**"
        labels, value = self.answer[0]
        return f"{value:.6g}" + (f" ({labels})" if labels else "")


@dataclass(frozen=True)
class Rule:
    """One rule as Prometheus reports it."""

    name: str
    kind: str
    health: str
    error: str
    state: str


@dataclass(frozen=True)
class Evaluation:
    """All that Prometheus was asked, and how the servers ended."""

    version: str
    queries: tuple[Query, ...]
    rules: tuple[Rule, ...]
    statuses: dict[str, int]

    @property
    def failures(self) -> list[str]:
        """What did not work, in words; empty if all did."""
        return [
            *(
                f"no data: {query.where}: {query.expr}"
                for query in self.queries
                if not query.answer
            ),
            *(
                f"{rule.name}: {rule.health} {rule.error}"
                for rule in self.rules
                if rule.health != "ok"
            ),
            # Only our own command promises how it ends.
            *(
                [f"perfgate serve ended with status {code}"]
                if (code := self.statuses["target"])
                else []
            ),
        ]


def missing_programs() -> list[str]:
    """What has to be installed first, by Debian's names."""
    return [names[0] for names in PROGRAMS.values() if not any(map(shutil.which, names))]


def evaluate(folder: Path) -> Evaluation:
    """Run everything in `folder`, ask until all queries have data or patience is at an end."""
    artifacts = folder / "artifacts"
    _measure(artifacts)
    statuses: dict[str, int] = {}
    with ExitStack() as stack:
        url = _start(stack, folder, artifacts, statuses)
        time.sleep(FULL_RATES_S)
        wanted = [*panel_queries(), *rule_queries()]
        queries = _until(lambda: [_ask(url, query) for query in wanted], _all_answered)
        rules = _until(
            lambda: _rules(url), lambda found: all(rule.health == "ok" for rule in found)
        )
        version = _get(f"{url}/api/v1/status/buildinfo")["version"]
    return Evaluation(version, tuple(queries), tuple(rules), statuses)


def panel_queries() -> list[Query]:
    """Every query of the committed dashboard, its variables set to all."""
    text = (HERE / "grafana" / "dashboards" / "perfgate.json").read_text(encoding="utf-8")
    return [
        Query(panel["title"], re.sub(r"\$(instance|hardware)\b", ".*", target["expr"]))
        for panel in json.loads(text)["panels"]
        for target in panel.get("targets", [])
    ]


def rule_queries() -> list[Query]:
    """The series that each alert compares: an alert that does not fire has no data of its own."""
    text = (HERE / "prometheus" / "rules" / "alerts.yml").read_text(encoding="utf-8")
    found = []
    for block in text.split("- alert: ")[1:]:
        name, expr = block.split("\n", 1)[0], block.split("expr:")[1].split("labels:")[0]
        series = re.findall(r"perfgate[:_][a-z0-9_:]+(?:\{[^}]*\})?|up\{[^}]*\}", expr)
        found += [Query(f"alert {name}", one) for one in dict.fromkeys(series)]
    return found


def log(evaluation: Evaluation) -> str:
    """The evaluation as Markdown."""
    queries = [
        f"| {q.where} | `{_cell(q.expr)}` | {len(q.answer)} | {_cell(q.value)} |"
        for q in evaluation.queries
    ]
    rules = [f"| {r.name} | {r.kind} | {r.health} | {r.state} |" for r in evaluation.rules]
    return "\n".join(
        [
            "# Prometheus evaluation log",
            "",
            "Written by `python -m dashboards.evaluate`. Prometheus scraped the real Triton",
            f"with the simulated engine of `{POINT}`, {CLIENTS} clients at a batch of 16, and the",
            f"`perfgate.prom` of a run of that point. Prometheus {evaluation.version}.",
            "",
            "## Queries",
            "",
            "Of each panel, and of the series that each alert compares; value of the first series.",
            "",
            "| where | query | series | value |",
            "|---|---|---|---|",
            *queries,
            "",
            "## Rules",
            "",
            "| rule | kind | health | state |",
            "|---|---|---|---|",
            *rules,
            "",
            f"{len(evaluation.failures)} failures. Servers ended by SIGTERM with status "
            + ", ".join(f"{name} {code}" for name, code in evaluation.statuses.items())
            + ".",
            "",
        ]
    )


def _measure(artifacts: Path) -> None:
    """One point of the perf run; a verdict that is no pass on a busy machine is none of ours."""
    argv = [sys.executable, "-m", "pytest", "-q", "-m", "perf", "-p", "no:cacheprovider"]
    subprocess.run(
        [*argv, "tests/perf/test_throughput.py", "-k", POINT, "--artifacts", str(artifacts)],
        cwd=HERE.parent,
        stdout=sys.stderr,
        check=False,
    )


def _start(stack: ExitStack, folder: Path, artifacts: Path, statuses: dict[str, int]) -> str:
    """Start target, exporter and Prometheus; returns Prometheus' address."""
    triton, others = pick_ports(), pick_ports()
    ports = (
        "--http-port",
        triton.http,
        "--grpc-port",
        triton.grpc,
        "--metrics-port",
        triton.metrics,
    )
    serve = [*PERFGATE, "serve", POINT, "--concurrency", CLIENTS, *ports]
    exporter = [
        _program("exporter"),
        f"--web.listen-address=127.0.0.1:{others.grpc}",
        "--collector.disable-defaults",
        "--collector.textfile",
        f"--collector.textfile.directory={artifacts}",
    ]
    config = _config(folder / "prometheus", triton=triton.metrics, exporter=others.grpc)
    prometheus = [
        _program("prometheus"),
        f"--config.file={config}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{others.http}",
    ]
    for name, argv in (("target", serve), ("exporter", exporter), ("prometheus", prometheus)):
        stack.enter_context(_running(name, [str(word) for word in argv], folder, statuses))
    return f"http://127.0.0.1:{others.http}"


def _config(folder: Path, *, triton: int, exporter: int) -> Path:
    """A copy of the committed files, which name the usual ports, with the ports in use."""
    shutil.copytree(HERE / "prometheus", folder)
    config = folder / "prometheus.yml"
    text = config.read_text(encoding="utf-8")
    for usual, port in ((8002, triton), (9100, exporter)):
        text = text.replace(f'"127.0.0.1:{usual}"', f'"127.0.0.1:{port}"')
    config.write_text(text, encoding="utf-8")
    return config


@contextmanager
def _running(name: str, argv: list[str], folder: Path, statuses: dict[str, int]) -> Iterator[None]:
    """A server behind perfgate's guard, which ends it even if we are killed."""
    guarded = guarded_argv(argv, f"perfgate-{name}-none-", 20.0)
    with (
        (folder / f"{name}.log").open("wb") as output,
        subprocess.Popen(
            guarded,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=output,
            cwd=HERE.parent,
        ) as process,
    ):
        try:
            yield
        finally:
            process.communicate()
            statuses[name] = process.returncode


def _until(ask: Callable[[], list[Any]], enough: Callable[[list[Any]], bool]) -> list[Any]:
    """Ask again until it is enough; after our patience, what there is."""
    deadline = time.monotonic() + PATIENCE_S
    found: list[Any] = []
    while time.monotonic() < deadline:
        try:
            found = ask()
        except OSError:
            found = []  # not up yet
        if found and enough(found):
            break
        time.sleep(2.0)
    return found


def _all_answered(queries: list[Query]) -> bool:
    return all(query.answer for query in queries)


def _ask(url: str, query: Query) -> Query:
    result = _get(f"{url}/api/v1/query?{urllib.parse.urlencode({'query': query.expr})}")["result"]
    answer = tuple((_labels(one["metric"]), float(one["value"][1])) for one in result)
    return Query(query.where, query.expr, answer)


def _labels(metric: dict[str, str]) -> str:
    told = {
        name: value for name, value in metric.items() if name not in {"__name__", "job", "instance"}
    }
    return ", ".join(f"{name}={value}" for name, value in sorted(told.items()))


def _rules(url: str) -> list[Rule]:
    return [
        Rule(
            rule["name"],
            rule["type"],
            rule["health"],
            rule.get("lastError", ""),
            rule.get("state", "-"),
        )
        for group in _get(f"{url}/api/v1/rules")["groups"]
        for rule in group["rules"]
    ]


def _get(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=10) as response:  # noqa: S310 - our own http URL
        return json.load(response)["data"]


def _program(name: str) -> str:
    return next(filter(None, map(shutil.which, PROGRAMS[name])))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Evaluate, print the log, complain of what failed; returns the exit status."""
    if missing := missing_programs():
        sys.stderr.write(
            f"missing: {', '.join(missing)} (Debian: apt-get install {' '.join(missing)})\n"
        )
        return 2
    with tempfile.TemporaryDirectory(prefix="perfgate-") as folder:
        evaluation = evaluate(Path(folder))
    sys.stdout.write(log(evaluation))
    sys.stderr.writelines(f"{failure}\n" for failure in evaluation.failures)
    return 1 if evaluation.failures else 0


if __name__ == "__main__":
    sys.exit(main())
