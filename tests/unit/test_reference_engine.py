"""The reference engine's loop and bookkeeping, on a device that computes nothing."""

import pytest

from perfgate.errors import ServerError, UsageError
from perfgate.model import EngineSpec, Precision, SchedulerPolicy, ServingSpec
from perfgate.reference.batch import Dialogue, Packer
from perfgate.reference.engine import ReferenceEngine
from perfgate.sim.scheduler import Scheduler
from perfgate.sim.steps import ContextChunk, SimRequest, Step

pytestmark = pytest.mark.unit

BLOCK = 4
SPEC = EngineSpec(
    model="tiny",
    precision=Precision.FP16,
    max_batch_size=2,
    max_input_len=16,
    max_seq_len=32,
    max_num_tokens=32,
    tokens_per_block=BLOCK,
)


class Oracle:
    """A device that reads the packed tokens as the model would, through the page tables.

    It writes every token into its page and answers with the sum of all that its sequence has
    cached up to it: a wrong page, position or owner gives another number.
    """

    def __init__(self, pages):
        self.cache = [[None] * BLOCK for _ in range(pages + 1)]
        self.launched = []

    def launch(self, packed, tables):
        """Write the tokens into their pages and note the answers."""
        self.launched.append(packed)
        places = [
            (tables[owner, position // BLOCK], position % BLOCK)
            for owner, position in zip(packed.sequences, packed.positions, strict=True)
        ]
        for token, (page, offset) in zip(packed.ids, places, strict=True):
            self.cache[page][offset] = int(token)
        self.answers = [
            self.sum(tables[packed.sequences[at]], packed.positions[at]) for at in packed.last
        ]

    def tokens(self):
        """Answer what was launched last."""
        return self.answers

    def sum(self, table, position):
        """Sum what the sequence has cached, up to the position."""
        return sum(self.cache[table[at // BLOCK]][at % BLOCK] for at in range(position + 1)) % 97


class Bench:
    """An engine with the oracle behind it, driven step by step."""

    def __init__(self, *, pages=16, policy=SchedulerPolicy.GUARANTEED_NO_EVICT, factor=1.0):
        serving = ServingSpec(kv_cache_tokens=pages * BLOCK, scheduler_policy=policy)
        self.now = 0
        self.slept = []
        self.said = {}
        self.final = []
        self.oracle = Oracle(pages)
        self.engine = ReferenceEngine(
            Scheduler(SPEC, serving, vocab_size=2),
            Packer(rows=2, longest_pages=8, spare=pages),
            self.oracle,
            emit=self.emit,
            step_time_factor=factor,
            clock=self.tick,
            sleep=self.slept.append,
        )

    def tick(self):
        """Let a microsecond pass."""
        self.now += 1000
        return self.now

    def emit(self, emissions):
        """Note what is said, and the stamps of what ends."""
        for emission in emissions:
            self.said.setdefault(emission.request_id, []).extend(emission.tokens)
            if emission.final:
                self.final.append((emission.request_id, self.engine.timings(emission.request_id)))

    def submit(self, request_id, prompt, tokens, **options):
        """Let a request arrive."""
        request = SimRequest(id=request_id, prompt_tokens=len(prompt), max_tokens=tokens, **options)
        self.engine.submit(request, prompt)

    def run(self):
        """Run until nothing is left."""
        while self.engine.run_once():
            pass


def expected(prompt, tokens):
    """What the oracle says of a request that runs alone."""
    dialogue = list(prompt)
    for _ in range(tokens):
        dialogue.append(sum(dialogue) % 97)
    return dialogue[len(prompt) :]


def test_every_token_sees_its_own_sequence_and_no_other():
    """Three requests on two rows: each is told what it would be told alone."""
    bench = Bench()
    prompts = {1: [3, 1, 4, 1, 5], 2: [9, 2], 3: [6, 5, 3, 5, 8, 9, 7]}

    for request_id, prompt in prompts.items():
        bench.submit(request_id, prompt, 9)
    bench.run()

    assert bench.said == {key: expected(prompt, 9) for key, prompt in prompts.items()}


def test_a_paused_request_goes_on_where_it_was():
    """Evicted for want of pages, a request runs its context again and says the same."""
    bench = Bench(pages=7, policy=SchedulerPolicy.MAX_UTILIZATION)
    prompts = {1: [3, 1, 4, 1, 5, 9, 2, 6], 2: [2, 7, 1, 8, 2, 8, 1, 8]}

    for request_id, prompt in prompts.items():
        bench.submit(request_id, prompt, 12)
    bench.run()

    contexts = sum(len(packed.ids) > len(packed.last) for packed in bench.oracle.launched)
    assert contexts > 1, "nothing was paused, so nothing was tested"
    assert bench.said == {key: expected(prompt, 12) for key, prompt in prompts.items()}


class Moving:
    """A scheduler that gives a request other blocks for its context, as many as before."""

    generating = ()

    def __init__(self):
        self.blocks = [0]

    def block_table(self, _):
        """The blocks as they are now."""
        return self.blocks


def test_a_context_that_runs_again_is_packed_with_its_new_blocks():
    """Paused and taken up within one plan, a request keeps its row and gets its new pages."""
    packer, scheduler = Packer(rows=2, longest_pages=2, spare=9), Moving()
    step = Step(iteration=1, context=(ContextChunk(request_id=1, tokens=2, past=0),), generation=())
    dialogues = {1: Dialogue([5, 6], 2)}
    packer.pack(step, scheduler, dialogues)

    scheduler.blocks = [7]
    packed = packer.pack(step, scheduler, dialogues)

    assert packer.tables[packed.sequences[0], 0] == 7


def test_the_model_may_end_a_request_with_its_end_token():
    """The end token is not sent, and nothing follows it."""
    bench = Bench()
    third = expected([1, 2, 3], 3)[2]

    bench.submit(1, [1, 2, 3], 9, end_id=third)
    bench.run()

    assert bench.said[1] == expected([1, 2, 3], 2)
    assert [request_id for request_id, _ in bench.final] == [1]


def test_an_end_token_before_the_least_length_is_a_token():
    """Under min_tokens the end token is sent as any other."""
    bench = Bench()
    third = expected([1, 2, 3], 3)[2]

    bench.submit(1, [1, 2, 3], 5, end_id=third, min_tokens=3)
    bench.run()

    assert bench.said[1][:3] == expected([1, 2, 3], 3)


def test_stamps_are_in_order():
    """Arrival, scheduling, first and last token of a request follow each other."""
    bench = Bench()

    bench.submit(1, [1, 2], 4)
    bench.run()

    (_, stamps), *_ = bench.final
    assert (
        stamps.arrival_ns < stamps.first_scheduled_ns < stamps.first_token_ns < stamps.last_token_ns
    )


def test_a_cancelled_request_says_no_more():
    """After a cancellation the request emits nothing, and its place is free again."""
    bench = Bench()
    bench.submit(1, [1, 2], 20)
    bench.engine.run_once()
    bench.engine.cancel(1)
    bench.run()

    assert bench.said.get(1, []) == []
    assert bench.engine.stats().scheduler.active == 0
    assert bench.engine.stats().scheduler.kv_blocks_used == 0


def test_a_planted_slowdown_lengthens_every_iteration():
    """A factor of 1.5 sleeps half of what the iteration took, each time."""
    bench = Bench(factor=1.5)

    bench.submit(1, [1, 2], 3)
    bench.run()

    assert len(bench.slept) == 3
    assert all(seconds > 0 for seconds in bench.slept)


def test_no_slowdown_never_sleeps():
    """Without a planted slowdown the engine waits for nothing but the device."""
    bench = Bench()

    bench.submit(1, [1, 2], 3)
    bench.run()

    assert bench.slept == []


def test_a_request_that_can_never_run_is_refused_at_once():
    """The limit is named, and nothing was queued."""
    bench = Bench()

    with pytest.raises(UsageError, match="prompt_tokens"):
        bench.submit(1, [0] * 17, 1)
    assert not bench.engine.run_once()


def test_a_stopped_engine_takes_no_request():
    """Whoever asks after the stop is told so."""
    bench = Bench()
    bench.engine.stop()

    with pytest.raises(ServerError, match="stopped"):
        bench.submit(1, [1], 1)
