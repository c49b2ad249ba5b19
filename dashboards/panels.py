"""The Grafana dashboard, panel by panel, by Grafana's own builders.

Every query stands on the recorded series of `prometheus/rules` or on what a perf run leaves in
`perfgate.prom`; the four panels that are looked at first come first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
LIVE = '{instance=~"$instance"}'
RUN = '{hardware=~"$hardware"}'
HALF, THIRD, FULL = 12, 8, 24

# Okabe and Ito's colours: apart from one another for colour-blind readers, on light and on dark.
BLUE, ORANGE, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"


@dataclass(frozen=True)
class Line:
    """One query and the name of what it draws; a limit is drawn dashed."""

    expr: str
    legend: str
    colour: str = ""
    limit: bool = False


def dashboard() -> builders.Dashboard:
    """All of it: serving now, the queue before it, and what the last perf run measured."""
    return (
        builders.Dashboard("perfgate: LLM serving")
        .uid("perfgate-serving")
        .description("Throughput, latency, GPU and KV cache of a Triton with TensorRT-LLM.")
        .tags(["perfgate", "triton", "tensorrt-llm"])
        .timezone("browser")
        .time("now-15m", "now")
        .refresh("5s")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .with_variable(
            builders.DatasourceVariable("datasource").label("Data source").type("prometheus")
        )
        .with_variable(_variable("instance", "Server", 'label_values(up{job="triton"}, instance)'))
        .with_variable(
            _variable("hardware", "Perf run", "label_values(perfgate_run_info, hardware)")
        )
        .with_panel(_throughput())
        .with_panel(_latency())
        .with_panel(_gpu())
        .with_panel(_kv_cache())
        .with_row(builders.Row("Queue and batch"))
        .with_panel(_requests())
        .with_panel(_iterations())
        .with_panel(_outcomes())
        .with_row(builders.Row("Last perf run, measured by the load client"))
        .with_panel(_verdicts())
        .with_panel(_run_throughput())
        .with_panel(_run_latency())
        .with_row(builders.Row("Trust"))
        .with_panel(_alerts())
        .with_panel(_lateness())
    )


def _throughput() -> timeseries.Panel:
    return _lines(
        "Output tokens/s",
        "Tokens of finished requests over the last minute; the floor is the watched point's.",
        "suffix:tok/s",
        [
            Line(f"perfgate:output_tokens:rate1m{LIVE}", "{{instance}}", BLUE),
            Line("perfgate:floor:tokens_per_second", "floor {{point}}", ORANGE, limit=True),
        ],
        width=HALF,
    ).min(0)


def _latency() -> timeseries.Panel:
    return _lines(
        "Request latency P95",
        "Whole requests over the last minute, by the server's clock. P95 near the mean is steady.",
        "s",
        [
            Line(f"perfgate:request_latency_seconds:p95{LIVE}", "P95 {{instance}}", BLUE),
            Line(f"perfgate:request_latency_seconds:mean1m{LIVE}", "mean {{instance}}", GREEN),
            Line("perfgate:ceiling:p95_seconds", "P95 ceiling {{point}}", ORANGE, limit=True),
        ],
        width=HALF,
    ).min(0)


def _gpu() -> timeseries.Panel:
    return (
        _lines(
            "GPU utilisation",
            "nv_gpu_utilization; on a simulated target, when the simulated GPU computed.",
            "percentunit",
            [Line(f"perfgate:gpu_utilization:ratio{LIVE}", "{{instance}}", BLUE)],
            width=HALF,
        )
        .min(0)
        .max(1)
    )


def _kv_cache() -> timeseries.Panel:
    return (
        _lines(
            "KV-cache pressure",
            "Blocks in use over all blocks. At 100 % requests wait or are paused.",
            "percentunit",
            [
                Line(f"perfgate:kv_cache_used:ratio{LIVE}", "{{instance}}", BLUE),
                Line("vector(0.9)", "alert", ORANGE, limit=True),
            ],
            width=HALF,
        )
        .min(0)
        .max(1)
    )


def _requests() -> timeseries.Panel:
    return _lines(
        "Requests",
        "In the engine, in the current batch, waiting for a slot, paused for want of KV blocks.",
        "short",
        [
            Line(f"perfgate:requests_active:count{LIVE}", "active {{instance}}", BLUE),
            Line(f"perfgate:requests_scheduled:count{LIVE}", "scheduled {{instance}}", GREEN),
            Line(f"perfgate:requests_waiting:count{LIVE}", "waiting {{instance}}", ORANGE),
            Line(f"perfgate:requests_paused:count{LIVE}", "paused {{instance}}", PURPLE),
        ],
    ).min(0)


def _iterations() -> timeseries.Panel:
    return _lines(
        "Engine iterations",
        "Iterations of the in-flight batcher a second: one decode step each.",
        "hertz",
        [Line(f"perfgate:iterations:rate1m{LIVE}", "{{instance}}", BLUE)],
    ).min(0)


def _outcomes() -> timeseries.Panel:
    return _lines(
        "Requests answered",
        "Ended well, and failed by reason.",
        "reqps",
        [
            Line(
                'sum by (instance) (rate(nv_inference_request_success{model="ensemble",'
                ' instance=~"$instance"}[1m]))',
                "well {{instance}}",
                GREEN,
            ),
            Line(
                'sum by (instance, reason) (rate(nv_inference_request_failure{model="ensemble",'
                ' instance=~"$instance"}[1m]))',
                "{{reason}} {{instance}}",
            ),
        ],
    ).min(0)


def _verdicts() -> table.Panel:
    return (
        table.Panel()
        .title("Verdict by point")
        .description("What the gate said of each point in the last run.")
        .datasource(SOURCE)
        .span(THIRD)
        .height(9)
        .show_header(True)
        .with_target(
            _query(f"perfgate_verdict{RUN} == 1", "").instant().format(PromQueryFormat.TABLE)
        )
        .with_transformation(
            models.DataTransformerConfig(
                id_val="organize",
                options={
                    "excludeByName": dict.fromkeys(
                        ("Time", "Value", "__name__", "instance", "job"), True
                    )
                },
            )
        )
    )


def _run_throughput() -> timeseries.Panel:
    return _lines(
        "Throughput over floor",
        "0 is the floor: the share by which each point is above or below it.",
        "percentunit",
        [
            Line(
                f"perfgate_output_tokens_per_second{RUN} / on (job, instance, point, hardware)"
                " group_left () perfgate_floor_tokens_per_second - 1",
                "{{point}} {{hardware}}",
            ),
            Line("vector(0)", "floor", ORANGE, limit=True),
        ],
    )


def _run_latency() -> timeseries.Panel:
    selector = '{statistic="p95", hardware=~"$hardware"}'
    return _lines(
        "P95 over ceiling",
        "0 is the ceiling: the share by which each point's P95 is below or above it.",
        "percentunit",
        [
            Line(
                f"perfgate_request_latency_seconds{selector} / on (job, instance, point, hardware)"
                " group_left () perfgate_ceiling_p95_seconds - 1",
                "{{point}} {{hardware}}",
            ),
            Line("vector(0)", "ceiling", ORANGE, limit=True),
        ],
    )


def _alerts() -> stat.Panel:
    return (
        stat.Panel()
        .title("Alerts firing")
        .description("Of prometheus/rules/alerts.yml.")
        .datasource(SOURCE)
        .span(THIRD)
        .height(6)
        .color_mode(common_models.BigValueColorMode.VALUE)
        .with_target(
            _query(
                'count(ALERTS{alertname=~"Perfgate.+", alertstate="firing"}) or vector(0)', "firing"
            )
        )
        .thresholds(
            builders.ThresholdsConfig()
            .mode(models.ThresholdsMode.ABSOLUTE)
            .steps([models.Threshold(color=GREEN), models.Threshold(value=1, color=ORANGE)])
        )
    )


def _lateness() -> timeseries.Panel:
    return _lines(
        "Simulator late",
        "Simulated targets only: engine time delivered late. Over 2 % the numbers are void.",
        "percentunit",
        [
            Line(f"perfgate:simulator_late:ratio1m{LIVE}", "{{instance}}", BLUE),
            Line("vector(0.02)", "limit", ORANGE, limit=True),
        ],
        width=FULL - THIRD,
        height=6,
    ).min(0)


def _lines(
    title: str, about: str, unit: str, lines: Sequence[Line], *, width: int = THIRD, height: int = 9
) -> timeseries.Panel:
    panel = (
        timeseries.Panel()
        .title(title)
        .description(about)
        .datasource(SOURCE)
        .unit(unit)
        .span(width)
        .height(height)
        .line_width(2)
        .fill_opacity(0)
        .show_points(common_models.VisibilityMode.NEVER)
        .legend(
            common.VizLegendOptions()
            .show_legend(True)
            .display_mode(common_models.LegendDisplayMode.LIST)
            .placement(common_models.LegendPlacement.BOTTOM)
        )
    )
    for index, line in enumerate(lines):
        ref = chr(ord("A") + index)
        panel = panel.with_target(_query(line.expr, line.legend).ref_id(ref))
        if line.colour:
            panel = panel.override_by_query(ref, _style(line))
    return panel


def _style(line: Line) -> list[models.DynamicConfigValue]:
    # A limit is told from a measurement by its dashes, not by its colour alone, and drawn alike in
    # every panel; of several servers each gets a shade.
    mode = "fixed" if line.limit else "shades"
    style = [models.DynamicConfigValue("color", {"mode": mode, "fixedColor": line.colour})]
    if line.limit:
        dashes = {"fill": "dash", "dash": [8, 6]}
        style.append(models.DynamicConfigValue("custom.lineStyle", dashes))
    return style


def _query(expr: str, legend: str) -> prometheus.Dataquery:
    return prometheus.Dataquery().expr(expr).legend_format(legend).datasource(SOURCE).ref_id("A")


def _variable(name: str, label: str, query: str) -> builders.QueryVariable:
    return (
        builders.QueryVariable(name)
        .label(label)
        .query(query)
        .datasource(SOURCE)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )
