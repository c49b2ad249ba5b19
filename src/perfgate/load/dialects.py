"""How a server is asked and understood, chosen by its protocol."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from perfgate.load import generate, openai, parser, tensors
from perfgate.load.spool import Exchange
from perfgate.model import Protocol, Server


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """Where requests go, how one is written, how an answer is read.

    `serialise(index=, prompt=, output_tokens=, count_input=)` returns one request's bytes.
    """

    address: str
    serialise: Callable[..., bytes]
    read: Callable[[Exchange, parser.Reading], None]


def learn_dialect(server: Server) -> Dialect:
    """Ask the server what it takes; LoadError if it does not answer or takes too little."""
    authority = server.http_url.partition("//")[2]
    match server.protocol:
        case Protocol.GRPC:
            inputs = tensors.fetch_inputs(server.grpc_url, server.model)
            return Dialect(
                address=server.grpc_url,
                serialise=partial(tensors.serialise_request, inputs),
                read=parser.read_grpc,
            )
        case Protocol.HTTP:
            inputs = generate.fetch_inputs(server.http_url, server.model)
            return Dialect(
                address=authority,
                serialise=partial(generate.serialise, inputs, authority),
                read=partial(parser.read_messages, decode=generate.decode),
            )
        case Protocol.OPENAI:
            extensions = openai.fetch_extensions(server.http_url, server.model)
            return Dialect(
                address=authority,
                serialise=partial(openai.serialise, extensions, authority),
                read=openai.read,
            )
