"""A stream's messages differ in a few bytes: what one repeats of the one before is not read again.

Names, types and parameters stand at the head of a ModelStreamInferResponse, the tensors' bytes
behind it. A message whose head is that of the last one, byte for byte, can differ in the tensors
alone. They are walked through to the message's last byte, so that a message is taken here only
where protobuf would read the same from it, at a fraction of the time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_ENVELOPE: Final = 0x12  # field 2, infer_response
_TENSOR: Final = 0x32  # field 6, raw_output_contents
_LONG: Final = 0x80  # a length of more than seven bits goes on in the next byte


@dataclass(frozen=True, slots=True)
class Response:
    """One message: its integer outputs by name, and whether it said it was the last.

    `names` are those of its outputs in order, empty for one that is no integer.
    """

    integers: dict[str, int]
    final: bool
    names: tuple[str, ...] = ()


class Reader:
    """Reads the messages of one request; `decode` is asked where a message is not a repetition."""

    def __init__(self, decode: Callable[[bytes, int], Response], index: int) -> None:
        self._decode = decode
        self._index = index
        self._head = b""
        self._last = Response({}, final=False)

    def read(self, message: bytes) -> Response:
        """Return what the message says; raises what `decode` raises."""
        start = _body(message)
        if start and self._head and message.startswith(self._head, start):
            tensors = _tensors(message, start + len(self._head))
            if len(tensors) == len(self._last.names):
                return self._under_the_same_head(tensors)
        self._last = self._decode(message, self._index)
        self._head = _head(message, start, len(self._last.names))
        return self._last

    def _under_the_same_head(self, tensors: list[bytes]) -> Response:
        last = self._last
        integers = {
            name: int.from_bytes(tensor, "little", signed=True)
            for name, tensor in zip(last.names, tensors, strict=True)
            if name
        }
        return last if integers == last.integers else Response(integers, last.final, last.names)


def _body(message: bytes) -> int:
    """Where the response begins in its envelope; 0 if the envelope holds anything else as well."""
    size, begin = _length(message, 1) if message[:1] == bytes((_ENVELOPE,)) else (0, 0)
    return begin if begin + size == len(message) else 0


def _tensors(message: bytes, at: int) -> list[bytes]:
    """The tensors' bytes from `at` to the end; none if there is anything else among them."""
    found = []
    while at < len(message):
        if message[at] != _TENSOR:
            return []
        size, begin = _length(message, at + 1)
        if not begin or begin + size > len(message):
            return []
        at = begin + size
        found.append(message[begin:at])
    return found


def _head(message: bytes, start: int, tensors: int) -> bytes:
    """What stands before that many tensors; nothing if they do not end the message."""
    at = start
    while start and tensors and at < len(message):
        if message[at] == _TENSOR:
            return message[start:at] if len(_tensors(message, at)) == tensors else b""
        size, begin = _length(message, at + 1)
        if not begin:
            return b""
        at = begin + size
    return b""


def _length(message: bytes, at: int) -> tuple[int, int]:
    """A length of up to 14 bits and where what it counts begins; 0, 0 for a longer one or none."""
    if at >= len(message):
        return 0, 0
    low = message[at]
    if low < _LONG:
        return low, at + 1
    if at + 1 >= len(message) or message[at + 1] >= _LONG:
        return 0, 0
    return low & (_LONG - 1) | message[at + 1] << 7, at + 2
