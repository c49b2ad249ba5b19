"""Triton's metrics text is read exactly, or refused with the line that cannot be read."""

import math
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.errors import ServerError
from perfgate.serving.metrics import parse, scrape

pytestmark = pytest.mark.unit

NAMES = st.from_regex(r"[a-zA-Z_:][a-zA-Z0-9_:]*", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=("Cc", "Cs", "Zl", "Zp")), max_size=12)
LABELS = st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), TEXTS, max_size=3)


def series(name, labels):
    """A series as an exporter writes it, label values escaped."""
    if not labels:
        return name
    pairs = [
        '{}="{}"'.format(key, value.replace("\\", r"\\").replace('"', r"\""))
        for key, value in labels.items()
    ]
    return f"{name}{{{','.join(pairs)}}}"


@given(
    st.dictionaries(
        st.builds(series, NAMES, LABELS), st.floats(allow_nan=False), min_size=1, max_size=5
    ),
    st.booleans(),
)
def test_what_an_exporter_writes_is_read_back(samples, stamped):
    """Any labels, any value, with or without a timestamp, comments and blank lines between."""
    stamp = " 1700000000000" if stamped else ""
    lines = [f"{name} {value!r}{stamp}" for name, value in samples.items()]
    text = "# HELP x y\n# TYPE x gauge\n\n" + "\n".join(lines) + "\n"

    assert parse(text) == samples


def test_triton_s_own_lines_are_read():
    """Labels are part of the name; infinities are numbers."""
    text = (
        'nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"} 160\n'
        'nv_inference_first_response_histogram_ms_bucket{model="x",le="+Inf"} +Inf\n'
    )

    values = parse(text)

    assert (
        values['nv_trt_llm_request_metrics{model="tensorrt_llm",request_type="active",version="1"}']
        == 160
    )
    assert math.inf in values.values()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("<html>not metrics</html>", "not a Prometheus metrics line: '<html>"),
        ("nv_inference_count", "not a Prometheus metrics line"),
        ("nv_inference_count many", "not a number in the metrics line"),
        ('nv_inference_count{model="x 1', "not a Prometheus metrics line"),
    ],
)
def test_anything_else_is_refused_with_the_line(line, message):
    """A proxy's error page is no server without load."""
    with pytest.raises(ServerError, match=message):
        parse(f"nv_cpu_utilization 0.5\n{line}\n")


def test_a_scrape_reads_what_the_server_answers():
    """Over HTTP, decoded and parsed."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"nv_inference_count 7\n")

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.handle_request)
    thread.start()

    assert scrape(f"http://127.0.0.1:{server.server_port}/metrics") == {"nv_inference_count": 7}
    thread.join()
    server.server_close()


def test_a_server_that_is_gone_is_a_server_error():
    """Refused connections are told with the address and a question."""
    with pytest.raises(ServerError, match=r"no metrics from http://127\.0\.0\.1:1/.*Is Triton"):
        scrape("http://127.0.0.1:1/metrics")
