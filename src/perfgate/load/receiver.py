"""Triton's gRPC streams as raw bytes: the transport under the worker, and nothing else.

grpc.aio without (de)serialisers hands over each message as bytes. One HTTP/2 connection carries
a few streams (`STREAMS_PER_CHANNEL`): one connection for all would serialise them, one for each
would cost a wake-up for each.
"""

from __future__ import annotations

import asyncio
from typing import Any

import grpc

from perfgate.errors import LoadError

STREAM_METHOD = "/inference.GRPCInferenceService/ModelStreamInfer"
STREAMS_PER_CHANNEL = 8
CONNECT_S = 10.0
RECONNECT_S = 2.0

EOF = grpc.aio.EOF
BROKEN = (grpc.aio.AioRpcError, asyncio.InvalidStateError)

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

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(channel.close() for channel in self._channels))

    async def _ready(self, channel: Any, timeout_s: float) -> None:
        try:
            await asyncio.wait_for(channel.channel_ready(), timeout_s)
        except TimeoutError:
            msg = (
                f"no gRPC connection to {self._address} within {timeout_s:g} s: the server is gone"
                " or never listened there. Read its log, then start it again."
            )
            raise LoadError(msg) from None


def describe_break(error: BaseException) -> str:
    """Say in one line why a stream broke."""
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return f"stream already closed: {error}"
