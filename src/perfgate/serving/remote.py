"""The target remote: a server that somebody else started, found out about by asking it.

Nothing is built or booted, and nothing is ended. Which tensors a request carries is decided by the
model's own metadata, when the load begins.
"""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perfgate.errors import ServerError, UsageError
from perfgate.model import Server
from perfgate.serving.tensors import ENSEMBLE, TENSORRT_LLM

_TIMEOUT_S = 10.0
_OPTION = "--triton-url"
_FORM = "write grpc://HOST:PORT, and ?http=PORT&metrics=PORT&model=NAME where they differ"
# The ensemble of an engine; the one model of the LLM API.
_MODELS = (ENSEMBLE, TENSORRT_LLM)


def parse_url(url: str) -> Server:
    """The addresses a URL stands for; ports not named are Triton's own beside the gRPC one.

    Raises UsageError for anything that is no such URL.
    """
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        host, port = parts.hostname, parts.port
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        http = int(query.pop("http", ["8000"])[0])
        metrics = int(query.pop("metrics", ["8002"])[0])
    except ValueError as error:
        raise UsageError(_OPTION, url, _FORM) from error
    model = query.pop("model", [""])[0]
    if parts.scheme not in {"", "grpc"} or not host or not port or parts.path or query:
        raise UsageError(_OPTION, url, _FORM)
    bracketed = f"[{host}]" if ":" in host else host
    return Server(
        grpc_url=f"{bracketed}:{port}",
        http_url=f"http://{bracketed}:{http}",
        metrics_url=f"http://{bracketed}:{metrics}/metrics",
        model=model,
        simulated=False,
    )


def discover(server: Server) -> Server:
    """The server with a model of ours that is ready on it.

    Raises ServerError if nobody answers, or saying which models were looked for.
    """
    wanted = (server.model,) if server.model else _MODELS
    with grpc.insecure_channel(server.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model in wanted:
            if _is_ready(stub, server, model):
                return replace(server, model=model)
    msg = (
        f"{server.grpc_url} answers, but no model {' or '.join(wanted)} is ready on it."
        f" Name yours: {_OPTION} grpc://{server.grpc_url}?model=NAME"
    )
    raise ServerError(msg)


def _is_ready(stub: service_pb2_grpc.GRPCInferenceServiceStub, server: Server, model: str) -> bool:
    request = service_pb2.ModelReadyRequest(name=model)
    try:
        ready: bool = stub.ModelReady(request, timeout=_TIMEOUT_S).ready
    except grpc.RpcError as error:
        if error.code() in {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}:
            msg = f"no Triton answers at {server.grpc_url}: {error.details()}"
            raise ServerError(msg) from error
        return False  # Triton says so of a model it does not know
    return ready
