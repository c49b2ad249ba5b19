"""The target remote: a server that somebody else started, found out about by asking it.

Nothing is built or booted, and nothing is ended. Which tensors a request carries is decided by the
model's own metadata, when the load begins.
"""

from __future__ import annotations

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

import grpc
from tritonclient.grpc import service_pb2, service_pb2_grpc

from perfgate.errors import ServerError, UsageError
from perfgate.load.plain_http import NoAnswerError, get
from perfgate.model import Protocol, Server
from perfgate.serving.tensors import ENSEMBLE, TENSORRT_LLM

_TIMEOUT_S = 10.0
_OK = 200
_OPTION = "--triton-url"
_FORM = (
    "write grpc://HOST:PORT, http://HOST:PORT or openai+http://HOST:PORT,"
    " and ?metrics=PORT&model=NAME&hardware=NAME (for gRPC also http=PORT) where they differ"
)
_PROTOCOLS = {
    "": Protocol.GRPC,
    "grpc": Protocol.GRPC,
    "http": Protocol.HTTP,
    "openai+http": Protocol.OPENAI,
}
SCHEMES = tuple(f"{scheme}://" for scheme in _PROTOCOLS if scheme)
# The ensemble of an engine; the one model of the LLM API.
_MODELS = (ENSEMBLE, TENSORRT_LLM)


def parse_url(url: str) -> Server:
    """The addresses a URL stands for; its scheme says by which protocol the server is asked.

    Ports not named are Triton's own beside the one that is; an OpenAI-compatible server has its
    metrics at its only port. Raises UsageError for anything that is no such URL.
    """
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        host, port = parts.hostname, parts.port
        query = parse_qs(parts.query, strict_parsing=bool(parts.query))
        protocol = _PROTOCOLS[parts.scheme]
        grpc_port = port if protocol is Protocol.GRPC else None
        http = int(query.pop("http", ["8000"])[0]) if grpc_port else port
        beside = port if protocol is Protocol.OPENAI else 8002
        metrics = int(query.pop("metrics", [str(beside)])[0])
    except (ValueError, KeyError) as error:
        raise UsageError(_OPTION, url, _FORM) from error
    model = query.pop("model", [""])[0]
    query.pop("hardware", None)  # says nothing of where the server answers
    if not host or not port or parts.path or query:
        raise UsageError(_OPTION, url, _FORM)
    bracketed = f"[{host}]" if ":" in host else host
    return Server(
        grpc_url=f"{bracketed}:{grpc_port}" if grpc_port else "",
        http_url=f"http://{bracketed}:{http}",
        metrics_url=f"http://{bracketed}:{metrics}/metrics",
        model=model,
        simulated=False,
        protocol=protocol,
    )


def named_hardware(url: str) -> str | None:
    """The hardware profile that a URL names as what the server runs on: nobody could ask it."""
    return parse_qs(urlsplit(url).query).get("hardware", [None])[0]


def discover(server: Server) -> Server:
    """The server with a model of ours that is ready on it.

    Raises ServerError if nobody answers, or saying which models were looked for.
    """
    match server.protocol:
        case Protocol.GRPC:
            return _ready_over_grpc(server)
        case Protocol.HTTP:
            return _ready_over_http(server)
        case Protocol.OPENAI:
            return _listed(server)


def _wanted(server: Server) -> tuple[str, ...]:
    return (server.model,) if server.model else _MODELS


def _none_ready(server: Server, url: str) -> ServerError:
    return ServerError(
        f"{url} answers, but no model {' or '.join(_wanted(server))} is ready on it."
        f" Name yours: {_OPTION} {url}?model=NAME"
    )


def _ready_over_grpc(server: Server) -> Server:
    with grpc.insecure_channel(server.grpc_url, options=[("grpc.enable_http_proxy", 0)]) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        for model in _wanted(server):
            if _is_ready(stub, server, model):
                return replace(server, model=model)
    raise _none_ready(server, f"grpc://{server.grpc_url}")


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


def _ready_over_http(server: Server) -> Server:
    for model in _wanted(server):
        status, _ = _ask(server, f"/v2/models/{model}/ready", "Triton")
        if status == _OK:
            return replace(server, model=model)
    raise _none_ready(server, server.http_url)


def _listed(server: Server) -> Server:
    """The one model that an OpenAI-compatible server lists, or the one of that name."""
    status, body = _ask(server, "/v1/models", "OpenAI-compatible server")
    try:
        names = [str(model["id"]) for model in json.loads(body)["data"]]
    except (ValueError, KeyError, TypeError) as error:
        msg = f"{server.http_url}/v1/models is no list of models (HTTP {status}): {body[:120]!r}"
        raise ServerError(msg) from error
    if server.model in names:
        return server
    if not server.model and len(names) == 1:
        return replace(server, model=names[0])
    msg = (
        f"{server.http_url} serves {', '.join(names) or 'no model'}, and"
        f" {server.model or 'none of them'} was asked for."
        f" Name one: {_OPTION} openai+{server.http_url}?model=NAME"
    )
    raise ServerError(msg)


def _ask(server: Server, path: str, what: str) -> tuple[int, bytes]:
    try:
        return get(server.http_url, path)
    except NoAnswerError as error:
        raise ServerError(f"no {what} answers at {server.http_url}: {error}") from error
