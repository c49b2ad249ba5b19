"""Triton's metrics: fetched as Prometheus text, read into full series name -> value."""

from __future__ import annotations

import http.client
import re
import urllib.error
import urllib.request
from collections.abc import Mapping

from perfgate.errors import ServerError

_TIMEOUT_S = 10.0
# name{labels} value [timestamp]; a quoted label value may hold braces and escaped quotes.
_SAMPLE = re.compile(
    r'(?P<series>[A-Za-z_:][\w:]*(?:\{(?:[^"}]|"(?:[^"\\]|\\.)*")*\})?)\s+(?P<value>\S+)(?:\s+\S+)?'
)
_ACTIVE = re.compile(r'nv_trt_llm_request_metrics\{.*request_type="active".*\}')


def scrape(url: str, *, timeout_s: float = _TIMEOUT_S) -> dict[str, float]:
    """Fetch and parse the metrics at `url`; ServerError if nobody answers or it is not metrics."""
    try:
        with urllib.request.urlopen(url, timeout=timeout_s) as response:  # noqa: S310 - our own http URL
            text = response.read().decode("utf-8")
    # A ValueError is an address that is none, or text that is not UTF-8.
    except (urllib.error.URLError, OSError, http.client.HTTPException, ValueError) as error:
        msg = f"no metrics from {url}: {error}. Is Triton running?"
        raise ServerError(msg) from error
    return parse(text)


def active_requests(metrics: Mapping[str, float]) -> float | None:
    """How many requests the engine holds, waiting ones too; None if it does not say."""
    return next((value for name, value in metrics.items() if _ACTIVE.fullmatch(name)), None)


def parse(text: str) -> dict[str, float]:
    """Parse the Prometheus text format; keys are series names with labels, as written.

    Raises ServerError naming the first line that is not of the format.
    """
    samples = {}
    for line in text.splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _SAMPLE.fullmatch(line.strip())
        if match is None:
            raise ServerError(f"not a Prometheus metrics line: {line[:120]!r}")
        samples[match["series"]] = _number(match["value"], line)
    return samples


def _number(text: str, line: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise ServerError(f"not a number in the metrics line {line[:120]!r}") from error
