"""The committed files: valid, up to date, each alert seen to fire and to keep still."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from dashboards import build, evaluate
from dashboards.panels import ORANGE, dashboard
from perfgate.errors import UsageError
from perfgate.suite import load_suite

pytestmark = pytest.mark.dashboards

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "dashboards" / "prometheus"
FIRST = ["Output tokens/s", "Request latency P95", "GPU utilisation", "KV-cache pressure"]


def promtool(*words):
    """Run Debian's promtool; its output and status."""
    command = [shutil.which("promtool"), *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module", autouse=True)
def installed():
    """Without Prometheus none of this says anything."""
    if shutil.which("promtool") is None:
        pytest.skip("no promtool on this machine (Debian: apt-get install prometheus)")


def test_prometheus_accepts_configuration_and_rules():
    """`promtool check config` reads the configuration and every rule file it names."""
    checked = promtool("check", "config", PROMETHEUS / "prometheus.yml")

    assert checked.returncode == 0, checked.stderr
    assert checked.stdout.count("rules found") == len(list((PROMETHEUS / "rules").glob("*.yml")))


def test_each_alert_fires_and_keeps_still():
    """`promtool test rules`: each alert's trouble, and the nearest state that is none."""
    tested = promtool("test", "rules", PROMETHEUS / "tests" / "alerts.yml")

    assert tested.returncode == 0, tested.stdout


def test_no_alert_is_untested():
    """Every alert of the rules stands in the tests."""
    rules = (PROMETHEUS / "rules" / "alerts.yml").read_text()
    tests = (PROMETHEUS / "tests" / "alerts.yml").read_text()

    assert set(re.findall(r"- alert: (\w+)", rules)) == set(re.findall(r"alertname: (\w+)", tests))


@pytest.mark.parametrize(
    ("healthy", "broken"),
    [
        ("< on () group_left (point) perfgate:floor", "> on () group_left (point) perfgate:floor"),
        (">= on () group_left () (0.95 *", ">= on () group_left () (0.05 *"),
        (
            "> on () group_left (point) perfgate:ceiling",
            "< on () group_left (point) perfgate:ceiling",
        ),
        ("<= on () group_left () (1.05 *", "<= on () group_left () (9 *"),
        ("[30s]) > 0.9", "[30s]) > 0.5"),
        ("or (perfgate:requests_paused:count > 0)", ""),
        ("[2m]) > 0.1) and", "[2m]) > -1) and"),
        ("(min_over_time(perfgate:requests_waiting:count[1m]) > 0)", "vector(1)"),
        ("[15s]) < 0.5", "[15s]) < 1.5"),
        (
            "(min_over_time(perfgate:requests_waiting:count[15s]) > 0)",
            "perfgate:requests_waiting:count",
        ),
        ('up{job="triton"} == 0', "up == 0"),
        ('verdict="REGRESSION"', 'verdict=~".*"'),
        ("perfgate_output_tokens_per_second <", "perfgate_output_tokens_per_second >"),
        ('{statistic="p95"}', '{statistic="p99"}'),
    ],
)
def test_the_alert_tests_notice_a_broken_rule(tmp_path, healthy, broken):
    """A rule with its comparison turned or loosened fails the tests above."""
    shutil.copytree(PROMETHEUS, tmp_path / "prometheus")
    rules = tmp_path / "prometheus" / "rules" / "alerts.yml"
    text = rules.read_text()
    assert healthy in text
    rules.write_text(text.replace(healthy, broken))

    assert promtool("test", "rules", tmp_path / "prometheus" / "tests" / "alerts.yml").returncode


def test_the_generated_files_are_up_to_date():
    """`--check` agrees with what is committed."""
    assert build.main(["--check"]) == 0


def test_a_stale_file_is_noticed(tmp_path, monkeypatch):
    """`--check` writes nothing and says which file is not what would be written."""
    stale = tmp_path / "perfgate.json"
    stale.write_text("{}")
    monkeypatch.setattr(build, "DASHBOARD", stale)

    assert build.main(["--check"]) == 1
    assert stale.read_text() == "{}"


def test_thresholds_are_the_watched_points_claim():
    """Floor, ceiling and concurrency come from points.toml; a point without them is refused."""
    suite = load_suite(ROOT)
    text = build.thresholds(suite.point("fp8-b64-c64"))

    assert re.findall(r"vector\((.*?)\)", text) == ["1493", "64", "5.8"]
    with pytest.raises(UsageError, match="must claim a floor and a ceiling"):
        build.thresholds(suite.point("fp8-b192-c1"))


def test_grafana_reads_the_dashboard_as_it_was_built():
    """Read back by Grafana's own types it is the same dashboard: no field is unknown to them."""
    text = build.DASHBOARD.read_text()
    read = Dashboard.from_json(json.loads(text))

    again = json.loads(JSONEncoder(sort_keys=True).encode(read))
    assert again == json.loads(text)


def test_what_is_looked_at_first_comes_first():
    """Tokens/s, P95, GPU utilisation and KV-cache pressure, in the upper left to right."""
    panels = json.loads(build.DASHBOARD.read_text())["panels"]
    places = [(panel["gridPos"]["y"], panel["gridPos"]["x"]) for panel in panels]

    assert [panel["title"] for panel in panels[:4]] == FIRST
    assert places == sorted(places)


def test_no_two_panels_share_a_place():
    """Panels neither overlap nor leave the 24 columns, and each says what it shows."""
    taken = set()
    for panel in json.loads(build.DASHBOARD.read_text())["panels"]:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        assert panel["type"] == "row" or panel["description"]
        taken |= cells


def test_limits_look_alike_and_units_are_spaced_once():
    """A limit has one colour wherever it is drawn; Grafana puts the space before a suffix."""
    panels = json.loads(build.DASHBOARD.read_text())["panels"]
    configs = [panel["fieldConfig"] for panel in panels if "fieldConfig" in panel]
    styles = [
        {prop["id"]: prop["value"] for prop in override["properties"]}
        for config in configs
        for override in config["overrides"]
    ]
    limits = [style["color"] for style in styles if "custom.lineStyle" in style]

    assert len(limits) > 4
    assert all(colour == {"mode": "fixed", "fixedColor": ORANGE} for colour in limits)
    assert not [config for config in configs if "suffix: " in config["defaults"].get("unit", "")]


def test_panels_and_alerts_use_only_what_is_recorded_or_exported():
    """No query names a perfgate series that no recording rule and no run makes."""
    recorded = set(
        re.findall(
            r"- record: (\S+)",
            "".join(path.read_text() for path in (PROMETHEUS / "rules").glob("*.yml")),
        )
    )
    asked = "\n".join(q.expr for q in [*evaluate.panel_queries(), *evaluate.rule_queries()])

    assert recorded
    assert set(re.findall(r"perfgate:[a-z0-9_:]+", asked)) <= recorded


def test_the_compose_file_is_one():
    """It follows the Compose specification, and every file it mounts or builds exists."""
    compose = ROOT / "dashboards" / "compose.yaml"
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    checked = subprocess.run([*command, compose], capture_output=True, text=True, check=False)

    assert checked.returncode == 0, checked.stdout
    for source in re.findall(r"- (\.\S*?):/", compose.read_text()):
        assert (compose.parent / source).is_dir(), source


def test_the_containers_answer_on_loopback_and_outlive_the_target():
    """Ports are this machine's alone, and belong to a network that stays when the target dies."""
    services = yaml.safe_load((ROOT / "dashboards" / "compose.yaml").read_text())["services"]
    owners = [name for name, service in services.items() if "ports" in service]
    networks = {service.get("network_mode") for service in services.values()}

    assert owners == ["prometheus"]
    assert networks == {None, "service:prometheus"}
    assert all(port.startswith("127.0.0.1:") for port in services["prometheus"]["ports"])


def test_datasource_and_provisioning_fit_together():
    """Grafana is told of the folder that compose mounts, and of the Prometheus beside it."""
    provisioning = ROOT / "dashboards" / "grafana" / "provisioning"
    mounted = (ROOT / "dashboards" / "compose.yaml").read_text()

    assert (
        "path: /var/lib/grafana/dashboards"
        in (provisioning / "dashboards" / "perfgate.yaml").read_text()
    )
    assert "./grafana/dashboards:/var/lib/grafana/dashboards" in mounted
    assert "type: prometheus" in (provisioning / "datasources" / "prometheus.yaml").read_text()
    assert dashboard().build().templating.list_val[0].type_val == "datasource"
