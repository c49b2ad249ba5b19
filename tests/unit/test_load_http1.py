"""The HTTP/1.1 connection of the fast receiver, held against an independent one (h11)."""

from __future__ import annotations

import itertools
import json

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfgate.load import http1
from perfgate.load.http1 import Connection, post
from perfgate.load.wire import END, NOT_TAKEN, Ending, ProtocolError, http_ending_of

pytestmark = pytest.mark.unit

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
ENDS = ["\n", "\r\n", "\r"]


class Peer:
    """An HTTP server made of h11, and the connection under test, with no socket in between."""

    def __init__(self):
        self.h11 = h11.Connection(h11.SERVER)
        self.client = Connection()
        self.heard = []
        self.ends = []
        self.number = self.client.open(lambda *it: self.heard.append(it), self.ends.append)

    def ask(self, body=None):
        """Send a request; the server's view of it."""
        self.client.send(self.number, post("gb10:8000", "/v2/models/m/generate_stream", body or {}))
        self.h11.receive_data(bytes(self.client.out))
        self.client.out.clear()
        events = []
        while not isinstance(event := self.h11.next_event(), h11.EndOfMessage):
            events.append(event)
        return events

    def answer(self, *parts, status=200, kind="text/event-stream", headers=(), end=True):
        """The bytes of an answer whose body comes in these parts."""
        framing = () if any(name == "Content-Length" for name, _ in headers) else CHUNKED
        sent = self.h11.send(
            h11.Response(status_code=status, headers=[("Content-Type", kind), *framing, *headers])
        )
        for part in parts:
            sent += self.h11.send(h11.Data(data=part))
        if end:
            sent += self.h11.send(h11.EndOfMessage())
            self.h11.start_next_cycle()
        return sent

    @property
    def messages(self):
        """What was told, without stamps."""
        return [message for _, message in self.heard]


CHUNKED = (("Transfer-Encoding", "chunked"),)


def event(*lines, end="\n"):
    """One event of data lines."""
    return "".join(f"data: {line}{end}" for line in (*lines,)).encode() + end.encode()


def cut(data, places):
    """The same bytes in pieces."""
    bounds = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[a:b] for a, b in itertools.pairwise(bounds)]


def chunk(data):
    """One chunk of a body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def test_a_request_is_what_an_http_server_expects():
    """Method, target, host, type and length; the body is the JSON object."""
    peer = Peer()
    request, data = peer.ask({"text_input": "añb"})
    headers = {name.decode(): value.decode() for name, value in request.headers}

    assert (request.method, request.target) == (b"POST", b"/v2/models/m/generate_stream")
    assert headers["host"] == "gb10:8000"
    assert headers["content-type"] == "application/json"
    assert json.loads(bytes(data.data)) == {"text_input": "añb"}


TEXTS = st.text(
    st.characters(blacklist_characters="\r\n", blacklist_categories=("Cs",)),
    min_size=1,
    max_size=60,
)


@given(
    texts=st.lists(st.lists(TEXTS, min_size=1, max_size=3), max_size=8),
    ends=st.sampled_from(ENDS),
    chunks=st.lists(st.integers(0, 5000), max_size=12),
    reads=st.lists(st.integers(0, 5000), max_size=12),
)
def test_events_arrive_whole_and_in_order_however_they_are_cut(texts, ends, chunks, reads):
    """Chunks and reads may begin and end anywhere: no event is lost, doubled or torn."""
    peer = Peer()
    peer.ask()
    body = b"".join(event(*lines, end=ends) for lines in texts)
    answer = peer.answer(*cut(body, chunks))
    for stamp, piece in enumerate(cut(answer, reads)):
        peer.client.receive(piece, stamp)

    assert peer.messages == [*("\n".join(lines).encode() for lines in texts), END]
    assert [stamp for stamp, _ in peer.heard] == sorted(stamp for stamp, _ in peer.heard)
    assert peer.ends == []


@given(
    texts=st.lists(TEXTS, min_size=1, max_size=5),
    chunks=st.lists(st.integers(0, 500), max_size=6),
    kept=st.integers(0, 5000),
)
def test_an_answer_cut_short_is_never_taken_for_a_whole_one(texts, chunks, kept):
    """Whatever part of it came, the end is not told, and the loss of the connection is."""
    peer = Peer()
    peer.ask()
    answer = peer.answer(*cut(b"".join(map(event, texts)), chunks))
    peer.client.receive(answer[: kept % len(answer)], 0)
    peer.client.lost("gone")

    assert END not in peer.messages
    assert peer.messages == [text.encode() for text in texts][: len(peer.messages)]
    assert len(peer.ends) == 1
    assert "gone" in peer.ends[0]


def test_a_connection_carries_one_request_after_the_other():
    """Keep-alive: the next answer is the next request's."""
    peer = Peer()
    for text in ("one", "two"):
        peer.ask()
        peer.client.receive(peer.answer(event(text)), 0)

    assert peer.messages == [b"one", END, b"two", END]
    assert not peer.client.room
    peer.client.half_close(peer.number)
    assert (peer.client.calls, peer.client.room) == (0, True)


def test_a_stamp_is_that_of_the_read_that_completed_the_event():
    """An event in two reads carries the time of the second, the end its own."""
    peer = Peer()
    peer.ask()
    head, rest = peer.answer(event("token"), end=False), b"0\r\n\r\n"
    peer.client.receive(head[:-1], 1)
    peer.client.receive(head[-1:], 2)
    peer.client.receive(rest, 3)

    assert peer.heard == [(2, b"token"), (3, END)]


def test_what_is_no_data_is_passed_over():
    """Comments, names and events without data are the standard's, and say nothing to us."""
    peer = Peer()
    peer.ask()
    body = b": ping\n\nevent: x\nid: 1\ndata:a\n\nretry: 3\n\ndata\n\ndata:\n\ndata:  b\n\n"
    peer.client.receive(peer.answer(body), 0)

    assert peer.messages == [b"a", b" b", END]


def test_an_interim_answer_and_a_trailer_are_passed_over():
    """The real answer follows a 1xx; fields after the last chunk mean nothing to us."""
    peer = Peer()
    peer.ask()
    body = chunk(event("x")) + b"0;last\r\nX-Sum: 1\r\n\r\n"
    peer.client.receive(b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD + body, 0)

    assert peer.messages == [b"x", END]


def test_an_event_that_is_not_finished_is_an_error_not_a_loss():
    """The standard drops it without a word; a token would be missing."""
    peer = Peer()
    peer.ask()
    peer.client.receive(peer.answer(event("whole"), b"data: half"), 0)

    assert peer.messages == [b"whole"]
    assert peer.ends == ["the answer ended in the midst of an event"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"error":"unknown model"}', "HTTP 400: unknown model"),
        (b'data: {"error":"no such input"}\n\n', "HTTP 400: no such input"),
        (b'{"error":{"message":"too long","code":400}}', "HTTP 400: too long"),
        (b'{"object":"error","message":"bad"}', "HTTP 400: bad"),
        (b"<html>proxy</html>", "HTTP 400: <html>proxy</html>"),
        (b"", "HTTP 400: "),
    ],
)
def test_a_refusal_is_quoted(body, words):
    """A status says that there is no stream; the connection can be used again."""
    peer = Peer()
    peer.ask()
    peer.client.receive(
        peer.answer(body, status=400, kind="x", headers=[("Content-Length", str(len(body)))]), 0
    )

    assert (peer.ends, peer.messages) == ([words], [])
    assert peer.client.room


def test_an_answer_that_is_no_stream_of_events_is_refused():
    """A 200 with a page is no answer either."""
    peer = Peer()
    peer.ask()
    peer.client.receive(peer.answer(b"hello", kind="text/html"), 0)

    assert peer.ends == ["HTTP 200: hello"]


def test_with_its_last_answer_a_connection_is_over():
    """Closing it afterwards is no fault of anybody's."""
    peer = Peer()
    peer.ask()
    last = HEAD[:-2] + b"Connection: close\r\n\r\n" + chunk(event("x")) + chunk(b"")
    peer.client.receive(last, 0)
    peer.client.lost("gone")

    assert peer.messages == [b"x", END]
    assert (peer.client.calls, peer.client.room, peer.ends) == (0, False, [])


@pytest.mark.parametrize(
    ("answered", "begun", "ends"),
    [
        (True, b"", [NOT_TAKEN]),
        (True, b"HTTP/1.1", ["gone"]),
        (True, HEAD, ["gone, in the midst of its answer"]),
        (False, b"", ["gone"]),
    ],
)
def test_a_request_that_crossed_the_close_was_not_taken(answered, begun, ends):
    """Only on a connection that has served, and before a byte of the answer: it can be resent."""
    peer = Peer()
    if answered:
        peer.ask()
        peer.client.receive(peer.answer(event("x")), 0)
    peer.ask()
    peer.client.receive(begun, 0)
    peer.client.lost("gone")

    assert peer.ends == ends


def test_a_connection_that_has_refused_has_served():
    """The next request on it may cross the close too."""
    peer = Peer()
    peer.ask()
    peer.client.receive(peer.answer(b"no", status=400, headers=[("Content-Length", "2")]), 0)
    peer.number = peer.client.open(lambda *it: peer.heard.append(it), peer.ends.append)
    peer.ask()
    peer.client.lost("gone")

    assert peer.ends == ["HTTP 400: no", NOT_TAKEN]


def test_a_request_given_up_takes_its_connection_along():
    """HTTP/1.1 has no word for it: what comes afterwards is dropped, and nothing more is told."""
    peer = Peer()
    peer.ask()
    peer.client.cancel(peer.number)
    peer.client.receive(peer.answer(event("late")), 0)
    peer.client.lost("gone")

    assert peer.heard == peer.ends == []
    assert not peer.client.room
    assert peer.client.leaving


@pytest.mark.parametrize(
    "data",
    [
        b"PRI * HTTP/2.0\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno field\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        HEAD + b"zz\r\n",
        HEAD + b"-1\r\n",
        HEAD + b"1_0\r\n",
        HEAD + b"\r\n",
        HEAD + b"5\r\ndata: x\n\n\r\n",
        HEAD + b"9" * 65,
        HEAD + b"fffffff\r\n",
    ],
)
def test_a_peer_that_breaks_the_protocol_is_refused(data):
    """Garbage is an error that says what was wrong, never a guess."""
    peer = Peer()
    peer.ask()

    with pytest.raises(ProtocolError):
        peer.client.receive(data, 0)


def test_bytes_that_nobody_asked_for_are_refused():
    """A second answer to one request would be taken for the next one's."""
    peer = Peer()
    with pytest.raises(ProtocolError, match="nobody asked for"):
        peer.client.receive(HEAD, 0)


def test_no_answer_grows_without_end(monkeypatch):
    """A line of an event has a most, a refusal is cut."""
    monkeypatch.setattr(http1, "_MAX_EVENT", 1000)
    peer = Peer()
    peer.ask()
    with pytest.raises(ProtocolError, match="a line of more than"):
        peer.client.receive(HEAD + 5 * chunk(b"x" * 500), 0)


PIECES = st.one_of(
    st.binary(max_size=40),
    st.sampled_from(
        [HEAD, b"0\r\n\r\n", b"a\r\ndata: 1\n\n\r\n", b"data: x\n\n", b"\r\n", b"\r", b"\n", b"5"]
    ),
    st.binary(max_size=30).map(chunk),
)


@pytest.mark.parametrize(
    "long",
    [
        HEAD.replace(b"OK", b"O" * 70_000),
        HEAD + b"5;" + b"x" * 70 + b"\r\nhello\r\n",
        HEAD + b"%066x\r\ndata: a\n\n\r\n" % 9,
        HEAD + b"0\r\nx: " + b"x" * 70_000 + b"\r\n\r\n",
    ],
    ids=["head", "chunk extension", "chunk size", "trailer"],
)
@pytest.mark.parametrize("step", [7, 10**6], ids=["in many reads", "in one"])
def test_a_line_over_its_limit_is_refused_however_it_comes(long, step):
    """What one read may hold, many may: the fuzzer found a cut that changed the answer."""
    client = Connection()
    client.send(client.open(lambda *_: None, lambda *_: None), b"request")

    def tell():
        for start in range(0, len(long), step):
            client.receive(long[start : start + step], 0)

    with pytest.raises(ProtocolError):
        tell()


@pytest.mark.parametrize("step", [1, 10**6])
def test_a_chunk_extension_within_the_limit_is_passed_over(step):
    """However it is cut, its line break too."""
    heard = []
    client = Connection()
    client.send(client.open(lambda _, message: heard.append(message), lambda *_: None), b"request")
    line = b"9;" + b"x" * 62
    told = HEAD + line + b"\r\ndata: a\n\n\r\n"
    for start in range(0, len(told), step):
        client.receive(told[start : start + step], 0)

    assert (len(line), heard) == (64, [b"a"])


@given(st.lists(PIECES, max_size=10), st.lists(st.integers(0, 200), max_size=8))
def test_no_bytes_break_the_reader_and_no_cut_changes_what_it_hears(pieces, reads):
    """Whatever comes is understood or refused, and alike in one read or in many."""

    def hear(parts):
        peer = Peer()
        peer.ask()
        refused = False
        try:
            for part in parts:
                peer.client.receive(part, 0)
        except ProtocolError:
            refused = True
        return peer.messages, peer.ends, refused

    data = b"".join(pieces)
    assert hear([data]) == hear(cut(data, reads))


def test_the_hot_path_knows_how_an_answer_ends():
    """By the empty message, or by an error in the stream."""
    assert http_ending_of(b'{"id":"1","text_output":"error"}') is None
    assert http_ending_of(END) is Ending.FINAL
    assert http_ending_of(b'{"error":"out of memory"}') is Ending.REFUSED
    assert http_ending_of(b'{"object":"error","message":"x"}') is Ending.REFUSED
