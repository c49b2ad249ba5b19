"""Triton's gRPC streams as raw bytes: the transport under the worker, and nothing else.

grpc.aio without (de)serialisers hands over each message as bytes. One HTTP/2 connection carries
a few streams (`STREAMS_PER_CHANNEL`): one connection for all would serialise them, one for each
would cost a wake-up for each.
"""

from __future__ import annotations

import asyncio
from time import perf_counter_ns
from typing import Any, Final

import grpc

from perfgate.errors import LoadError
from perfgate.load.spool import Ending, Exchange

STREAM_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
STREAMS_PER_CHANNEL = 32
CONNECT_S = 10.0
RECONNECT_S = 2.0

# A parameters entry (field 4, 27 bytes) {"triton_final_response": bool_param true}, and the tag
# of error_message (field 1), which protobuf writes first if it is there. The parser checks both.
FINAL_MARK: Final = b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"
ERROR_TAG: Final = b"\x0a"


class StreamEndedError(Exception):
    """The server half-closed a stream that owed a response."""


BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError, StreamEndedError)

_OPTIONS = (
    # Channels to one address share one connection unless each has a pool of its own.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_receive_message_length", -1),
    # A proxy between client and server would be measured too.
    ("grpc.enable_http_proxy", 0),
)

Stream = Any  # grpc.aio.StreamStreamCall; grpc ships no types


class GrpcReceiver:
    """Connections to one server, and a bidirectional stream for each client."""

    def __init__(self, address: str, clients: int) -> None:
        self._address = address
        count = -(-clients // STREAMS_PER_CHANNEL)
        self._channels = [
            grpc.aio.insecure_channel(address, options=_OPTIONS) for _ in range(count)
        ]
        self._methods = [
            channel.stream_stream(
                STREAM_METHOD, request_serializer=None, response_deserializer=None
            )
            for channel in self._channels
        ]

    async def connect(self, timeout_s: float = CONNECT_S) -> None:
        """Return when every connection stands, so that no request pays for one.

        Raises LoadError if one does not within `timeout_s`.
        """
        await asyncio.gather(
            *(self._ready(channel, timeout_s) for channel in self._channels),
        )

    async def open(self, client: int) -> Stream:
        """Open a stream for `client` on its connection, waiting briefly for a lost one.

        Raises LoadError if the server does not take the connection again.
        """
        number = client % len(self._channels)
        await self._ready(self._channels[number], RECONNECT_S)
        return self._methods[number]()

    async def _ready(self, channel: Any, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(channel.channel_ready(), timeout_s)
        except TimeoutError:
            msg = (
                f"no gRPC connection to {self._address} within {timeout_s:g} s: the server is gone"
                " or never listened there. Read its log, then start it again."
            )
            raise LoadError(msg) from None


async def receive(stream: Stream, exchange: Exchange) -> Ending:
    """Append each message and its stamp until the last one: the hot path."""
    read, clock = stream.read, perf_counter_ns
    stamp, keep = exchange.stamps_ns.append, exchange.messages.append
    while True:
        message = await read()
        now_ns = clock()
        if message is grpc.aio.EOF:
            raise StreamEndedError
        stamp(now_ns)
        keep(message)
        if message.startswith(ERROR_TAG):
            return Ending.REFUSED
        if FINAL_MARK in message:
            return Ending.FINAL


def describe_break(error: BaseException) -> str:
    """Say in one line why a stream broke."""
    match error:
        case grpc.aio.AioRpcError():
            return f"{error.code().name}: {error.details()}"
        case StreamEndedError():
            return "the server closed the stream before its final response"
        case _:
            return f"the stream was already closed: {error}"
