"""The HTTP/2 connection of the fast receiver, held against an independent implementation (h2)."""

from __future__ import annotations

import itertools

import grpc
import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load import http2
from perfgate.load.http2 import HALF_CLOSED, STATUS, Connection, ProtocolError

pytestmark = pytest.mark.unit

RESPONSE = [(":status", "200"), ("content-type", "application/grpc")]
PATH = "/inference.GRPCInferenceService/ModelStreamInfer"


class Peer:
    """A gRPC server made of h2, and the connection under test, with no socket in between."""

    def __init__(self, **settings):
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
        self.h2.initiate_connection()
        if settings:
            self.h2.update_settings(
                {getattr(h2.settings.SettingCodes, name): value for name, value in settings.items()}
            )
        self.client = Connection("127.0.0.1:8001", PATH, streams=8)
        self.events = []
        self.heard = []
        self.ends = []

    def exchange(self, stamp_ns=0):
        """Let both sides talk until neither has anything left to say."""
        while self.client.out or (answer := self.h2.data_to_send()):
            if self.client.out:
                self.events += self.h2.receive_data(bytes(self.client.out))
                self.client.out.clear()
            else:
                self.client.receive(answer, stamp_ns)

    def open(self, deliver=None):
        """A call, accepted by the server; returns its number."""
        number = self.client.open(
            deliver or (lambda stamp, message: self.heard.append((stamp, message))), self.end
        )
        self.exchange()
        self.h2.send_headers(number, RESPONSE)
        self.exchange()
        return number

    def end(self, reason):
        """Keep why a call ended."""
        self.ends.append(reason)

    def received(self):
        """Everything the server got, frame after frame."""
        data = [e.data for e in self.events if isinstance(e, h2.events.DataReceived)]
        return b"".join(data)


def framed(*messages):
    """Messages with gRPC's prefix."""
    return b"".join(b"\0" + len(one).to_bytes(4, "big") + one for one in messages)


def frame(kind, flags, number, payload):
    """One HTTP/2 frame, written by hand."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + number.to_bytes(4, "big") + payload
    )


def cut(data, places):
    """The same bytes in pieces."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


def test_statuses_are_named_as_grpc_names_them():
    """A failed call reads the same through either receiver."""
    assert tuple(code.name for code in grpc.StatusCode) == STATUS


def test_a_call_is_what_a_grpc_server_expects():
    """Method, path, authority and content type are gRPC's; the settings are acknowledged."""
    peer = Peer()
    peer.open()
    (request,) = [e for e in peer.events if isinstance(e, h2.events.RequestReceived)]

    assert peer.client.ready
    assert any(isinstance(event, h2.events.SettingsAcknowledged) for event in peer.events)
    assert {k.decode(): v.decode() for k, v in request.headers} == {
        ":method": "POST",
        ":scheme": "http",
        ":path": PATH,
        ":authority": "127.0.0.1:8001",
        "te": "trailers",
        "content-type": "application/grpc",
        "user-agent": "perfgate",
    }


@given(
    messages=st.lists(st.binary(max_size=300), max_size=12),
    frames=st.lists(st.integers(0, 5000), max_size=12),
    reads=st.lists(st.integers(0, 5000), max_size=12),
)
def test_messages_arrive_whole_and_in_order_however_they_are_cut(messages, frames, reads):
    """Frames and reads may begin and end anywhere: no message is lost, doubled or torn."""
    peer = Peer()
    number = peer.open()
    for piece in cut(framed(*messages), frames):
        peer.h2.send_data(number, piece)
    for stamp, piece in enumerate(cut(peer.h2.data_to_send(), reads)):
        peer.client.receive(piece, stamp)

    assert [message for _, message in peer.heard] == messages
    assert [stamp for stamp, _ in peer.heard] == sorted(stamp for stamp, _ in peer.heard)


@given(st.data())
def test_streams_of_one_connection_keep_apart(data):
    """Interleaved frames of several calls reach each call's own receiver."""
    peer = Peer()
    heard = {}
    calls = [
        peer.open(heard.setdefault(n, []).append and (lambda _, m, n=n: heard[n].append(m)))
        for n in range(3)
    ]
    plan = data.draw(st.lists(st.tuples(st.integers(0, 2), st.binary(max_size=40)), max_size=20))
    for call, message in plan:
        peer.h2.send_data(calls[call], framed(message))
    peer.exchange()

    assert heard == {n: [m for call, m in plan if call == n] for n in range(3)}


def test_a_stamp_is_that_of_the_read_that_completed_the_message():
    """A message in two reads carries the time of the second."""
    peer = Peer()
    number = peer.open()
    peer.h2.send_data(number, framed(b"token"))
    data = peer.h2.data_to_send()
    peer.client.receive(data[:-1], 1)
    peer.client.receive(data[-1:], 2)

    assert peer.heard == [(2, b"token")]


@pytest.mark.parametrize("window", [100, 2**20], ids=["stream", "connection"])
def test_requests_arrive_whole_through_small_windows(window):
    """What the windows of stream or connection do not take at once follows when they open."""
    message = bytes(range(256)) * 800
    peer = Peer(INITIAL_WINDOW_SIZE=window)
    number = peer.open()
    peer.client.send(number, message)
    peer.exchange()
    while len(peer.received()) < len(message) + 5:
        peer.h2.increment_flow_control_window(20_000)
        peer.h2.increment_flow_control_window(20_000, stream_id=number)
        peer.exchange()

    assert peer.received() == framed(message)


def test_a_window_that_grows_by_a_setting_lets_waiting_bytes_go():
    """A new initial window size applies to streams that are open already."""
    peer = Peer(INITIAL_WINDOW_SIZE=10)
    number = peer.open()
    peer.client.send(number, b"x" * 100)
    peer.exchange()
    assert len(peer.received()) == 10
    peer.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 1000})
    peer.exchange()

    assert len(peer.received()) == 105


def test_what_was_received_is_granted_again(monkeypatch):
    """A long load does not run the windows dry."""
    monkeypatch.setattr(http2, "_REFILL", 1000)
    peer = Peer()
    number = peer.open()
    before = peer.h2.local_flow_control_window(number)
    for _ in range(30):
        peer.h2.send_data(number, framed(b"x" * 95))
        peer.exchange()

    assert before - peer.h2.local_flow_control_window(number) < 1000
    assert len([e for e in peer.events if isinstance(e, h2.events.WindowUpdated)]) >= 4


def test_a_ping_is_answered():
    """The server's probe comes back with its own bytes."""
    peer = Peer()
    peer.h2.ping(b"12345678")
    peer.exchange()
    (answer,) = [e for e in peer.events if isinstance(e, h2.events.PingAckReceived)]

    assert answer.ping_data == b"12345678"


@pytest.mark.parametrize(
    ("trailers", "reason"),
    [
        ([("grpc-status", "0")], HALF_CLOSED),
        ([("grpc-status", "14"), ("grpc-message", "shut%20down")], "UNAVAILABLE: shut down"),
        ([("grpc-status", "99")], "99: "),
        ([("x", "y")], "UNKNOWN: "),
    ],
    ids=["ok", "message", "unheard of", "none"],
)
def test_trailers_say_why_a_call_ended(trailers, reason):
    """Status and message are told as gRPC libraries tell them."""
    peer = Peer()
    number = peer.open()
    peer.h2.send_headers(number, trailers, end_stream=True)
    peer.exchange()

    assert peer.ends == [reason]


def test_a_reset_stream_ends_its_call_only():
    """The other calls of the connection go on."""
    peer = Peer()
    first, second = peer.open(), peer.open()
    peer.h2.reset_stream(first, 8)
    peer.h2.send_data(second, framed(b"alive"))
    peer.exchange()

    assert peer.ends == ["the server reset the stream (HTTP/2 error 8)"]
    assert [message for _, message in peer.heard] == [b"alive"]


def test_a_cancelled_call_is_silent():
    """What was under way for it is dropped; the server is told."""
    peer = Peer()
    number = peer.open()
    peer.client.cancel(number)
    peer.h2.send_data(number, framed(b"late"))
    peer.client.receive(peer.h2.data_to_send(), 0)
    peer.exchange()

    assert peer.heard == peer.ends == []
    assert any(isinstance(event, h2.events.StreamReset) for event in peer.events)


def test_a_server_that_leaves_says_why():
    """After GOAWAY the connection takes no more streams, and its owner knows."""
    peer = Peer()
    peer.open()
    peer.h2.close_connection(11, additional_data=b"too many pings")
    peer.client.receive(peer.h2.data_to_send(), 0)

    assert "HTTP/2 error 11) too many pings" in peer.client.leaving


def test_a_lost_connection_ends_every_call():
    """Nobody waits for ever."""
    peer = Peer()
    peer.open(), peer.open()
    peer.client.lost("gone")

    assert peer.ends == ["gone", "gone"]


def test_padding_and_long_header_blocks_are_understood():
    """A frame may be padded, a header block may go on in further frames."""
    peer = Peer()
    number = peer.open()
    peer.client.receive(frame(0, 0x8, number, b"\x03" + framed(b"padded") + b"\0\0\0"), 7)
    peer.client.receive(frame(0, 0, number, framed(b"plain")), 8)
    peer.h2.send_headers(number, [("grpc-status", "8"), ("x", "y" * 40_000)], end_stream=True)
    peer.exchange()

    assert peer.heard == [(7, b"padded"), (8, b"plain")]
    assert peer.ends == ["RESOURCE_EXHAUSTED: "]


def test_a_compressed_message_ends_the_call():
    """Compression was not asked for, so the bytes would be misread."""
    peer = Peer()
    number = peer.open()
    peer.h2.send_data(number, b"\x01\0\0\0\x01x")
    peer.exchange()

    assert "compressed" in peer.ends[0]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 400 Bad Request\r\n\r\n",
        frame(4, 0, 0, b"12345"),
        frame(0, 0x8, 1, b"\xff"),
        frame(9, 0x4, 1, b""),
        frame(1, 0, 1, b"") + frame(6, 0, 0, b"12345678"),
        frame(1, 0, 1, b"") + frame(0, 0, 1, b""),
        frame(1, 0x4, 1, b"\xff\xff\xff\xff\xff\xff"),
        frame(5, 0x4, 1, b"\0\0\0\2"),
    ],
    ids=[
        "http/1",
        "settings",
        "padding",
        "continuation",
        "interrupted",
        "by data",
        "hpack",
        "push",
    ],
)
def test_a_peer_that_breaks_the_protocol_is_refused(data):
    """Garbage is an error that says what was wrong, never a guess."""
    peer = Peer()
    peer.open()

    with pytest.raises(ProtocolError):
        peer.client.receive(data, 0)


@given(st.lists(st.binary(max_size=60), max_size=6), st.booleans())
def test_no_bytes_break_the_reader_itself(pieces, whole):
    """Whatever comes is understood, ignored or refused: no other exception exists."""
    client = Connection("x:1", PATH)
    number = client.open(lambda *_: None, lambda _: None)
    try:
        for kind, piece in enumerate(pieces):
            client.receive(frame(kind, 0x25 * kind % 64, number, piece) if whole else piece, 0)
    except ProtocolError:
        pass


def test_a_half_closed_call_is_ended_by_the_server():
    """The client has nothing more to say; the server's end is heard as any other."""
    peer = Peer()
    number = peer.open()
    peer.client.half_close(number)
    peer.exchange()
    assert any(isinstance(event, h2.events.StreamEnded) for event in peer.events)
    assert peer.client.calls == 1
    peer.h2.send_headers(number, [("grpc-status", "0")], end_stream=True)
    peer.exchange()

    assert peer.client.calls == 0
    assert peer.ends == [HALF_CLOSED]
