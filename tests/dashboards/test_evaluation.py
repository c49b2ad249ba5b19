"""A real Prometheus, the real Triton under load: every query has data, every rule is healthy."""

import pytest

from dashboards import evaluate

pytestmark = pytest.mark.dashboards


@pytest.fixture(scope="module")
def evaluation(tmp_path_factory):
    """One evaluation for all checks; it takes about two minutes."""
    if missing := evaluate.missing_programs():
        pytest.skip(f"not installed: {', '.join(missing)} (Debian packages)")
    return evaluate.evaluate(tmp_path_factory.mktemp("evaluation"))


def test_every_query_returns_data(evaluation):
    """Each panel's queries, and the series that each alert compares."""
    assert len(evaluation.queries) > 30
    assert evaluation.failures == []


def test_every_rule_is_evaluated(evaluation):
    """Prometheus has loaded and evaluated all of them, without an error."""
    assert {rule.kind for rule in evaluation.rules} == {"alerting", "recording"}
    assert {rule.health for rule in evaluation.rules} == {"ok"}


def test_the_numbers_are_those_of_the_load(evaluation):
    """24 clients at a batch of 16: 16 scheduled, 8 waiting, the GPU busy, tokens flowing."""
    value = {query.expr: query.answer[0][1] for query in evaluation.queries}
    live = '{instance=~".*"}'

    assert value[f"perfgate:requests_scheduled:count{live}"] == pytest.approx(16, abs=2)
    assert value[f"perfgate:requests_waiting:count{live}"] == pytest.approx(8, abs=3)
    assert value[f"perfgate:gpu_utilization:ratio{live}"] > 0.8
    # The engine's steps bound it from above; a busy machine may only slow it down.
    assert 100 < value[f"perfgate:output_tokens:rate1m{live}"] < 600
    assert value[f"perfgate:request_latency_seconds:p95{live}"] > 4


def test_the_command_ends_cleanly(evaluation):
    """`perfgate serve` answers SIGTERM with status 0."""
    assert evaluation.statuses["target"] == 0


def test_the_log_shows_what_was_asked(evaluation):
    """Each query and rule stands in the log with its answer."""
    text = evaluate.log(evaluation)

    assert "**nothing**" not in text
    for rule in evaluation.rules:
        assert f"| {rule.name} | {rule.kind} | ok |" in text
