"""A stand-in for tritonserver: answers what perfgate asks of one, or fails as one fails.

Run as `python standin_triton.py HOW ARGV...` with tritonserver's own arguments. HOW:

    ok          ready at once, says its name, answers inference as the mocked server does
    never       answers, but its models never become ready
    exits       a model cannot be loaded: writes why and ends with status 1
    dies        becomes ready, then ends with status 139 when a first request comes
    taken       its port belongs to somebody else
    stranger    answers under another name
"""

from __future__ import annotations

import json
import os
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LOG = """\
+----------+---------+
| model    | UNAVAILABLE |
+----------+---------+
E0101 00:00:00 1 model_lifecycle.cc:642] "failed to load 'tensorrt_llm': engine is for SM 90"
"""


def options(argv):
    """Tritonserver's arguments by name; a flag that may stand several times keeps them all."""
    found = {}
    for word in argv:
        name, _, value = word.removeprefix("--").partition("=")
        found.setdefault(name, []).append(value)
    return found


def serve(how, given):
    """Answer on the two HTTP ports until told to stop."""
    name = "another" if how == "stranger" else given["id"][0]
    models = {folder.name for folder in Path(given["model-repository"][0]).iterdir()}

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            model = re.fullmatch(r"/v2/models/(\w+)/ready", self.path)
            if self.path == "/v2":
                self._answer(200, json.dumps({"name": name}))
            elif model:
                self._answer(200 if how != "never" and model[1] in models else 400)
            else:
                self._answer(200, "nv_inference_count 1\n")

        def _answer(self, status, body=""):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_):
            pass

    servers = [
        ThreadingHTTPServer((given[f"{kind}-address"][0], int(given[f"{kind}-port"][0])), Handler)
        for kind in ("http", "metrics")
    ]
    for server in servers[1:]:
        threading.Thread(target=server.serve_forever, daemon=True).start()
    if how in ("ok", "dies"):
        answer_inference(how, int(given["grpc-port"][0]))
    servers[0].serve_forever()


def answer_inference(how, port):
    """Answer gRPC requests as the mocked server does, or die of the first."""
    from perfgate.mock_server import MockServer, Script  # noqa: PLC0415 - slow, and not always needed

    models = ("ensemble", "tensorrt_llm")
    mock = MockServer(
        Script(input_tokens=int(os.environ.get("STANDIN_INPUT_TOKENS", "8")), models=models),
        port=port,
    )
    mock.__enter__()
    if how == "dies":
        threading.Thread(target=die_of_the_first_request, args=(mock,), daemon=True).start()


def die_of_the_first_request(mock):
    """End as a process with a segmentation fault does, once there is something to answer."""
    while not mock.prompts:
        time.sleep(0.005)
    sys.stderr.write("Signal (11) received.\n")
    sys.stderr.flush()
    os._exit(139)


def main(how, argv):
    """Fail as told, or serve."""
    if how == "exits":
        sys.stderr.write(LOG)
        sys.exit(1)
    if how == "taken":
        sys.stderr.write("E0101 grpc_server.cc:1] failed: Address already in use\n")
        sys.exit(1)
    sys.stderr.write("I0101 starting\n")
    sys.stderr.flush()
    serve(how, options(argv))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
