"""What both gRPC receivers know of Triton's streaming protocol."""

from __future__ import annotations

from typing import Final

from perfgate.errors import LoadError
from perfgate.load.spool import Ending

STREAM_METHOD: Final = "/inference.GRPCInferenceService/ModelStreamInfer"
CONNECT_S: Final = 10.0
RECONNECT_S: Final = 2.0

# A parameters entry (field 4, 27 bytes) {"triton_final_response": bool_param true}, and the tag
# of error_message (field 1), which protobuf writes first if it is there. The parser checks both.
FINAL_MARK: Final = b"\x22\x1b\x0a\x15triton_final_response\x12\x02\x08\x01"
ERROR_TAG: Final = b"\x0a"


def ending_of(message: bytes) -> Ending | None:
    """How this message ends its request, or None if more are to come."""
    if FINAL_MARK in message:
        return Ending.FINAL
    return Ending.REFUSED if message.startswith(ERROR_TAG) else None


def unreachable(address: str, timeout_s: float) -> LoadError:
    """The error of a server that does not take a connection."""
    return LoadError(
        f"no gRPC connection to {address} within {timeout_s:g} s: the server is gone or never"
        " listened there. Read its log, then start it again."
    )
