"""The in-flight batching scheduler: which tokens of which requests each iteration runs.

It knows no time. `next_step` plans one iteration, `finish_step` applies it; whoever drives it
decides how long the iteration took. Sequences run in order of arrival, so every running one is
older than every waiting one: the oldest always makes progress, and nobody starves.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

from perfgate.errors import UsageError
from perfgate.model import BatchingStrategy, EngineSpec, SchedulerPolicy, ServingSpec
from perfgate.sim.kv_blocks import BlockPool
from perfgate.sim.steps import ContextChunk, Emission, SchedulerStats, SimRequest, Step
from perfgate.sim.tokens import Output, draw_output

__all__ = ["ContextChunk", "Emission", "Scheduler", "SchedulerStats", "SimRequest", "Step"]


class _Sequence:
    """A request on its way through the engine."""

    __slots__ = ("cached", "context_left", "emitted", "live", "output", "request", "reserved")

    def __init__(self, request: SimRequest, output: Output) -> None:
        self.request = request
        self.output = output
        self.emitted = 0
        self.context_left = request.prompt_tokens
        self.cached = 0
        self.reserved = 0
        self.live = True

    def advance(self) -> Emission:
        """Yield the next token, or the end."""
        tokens = self.output.tokens[self.emitted : self.emitted + 1]
        self.emitted += len(tokens)
        spoken = self.emitted == len(self.output.tokens)
        final = spoken and (not tokens or not self.output.ended)
        return Emission(request_id=self.request.id, tokens=tokens, final=final)

    def restart(self) -> None:
        """Forget the cache: the context is run again over the prompt and all tokens so far."""
        self.context_left = self.request.prompt_tokens + self.emitted
        self.cached = 0


class Scheduler:
    """Plans iterations over a paged KV cache, as TensorRT-LLM's batch manager does."""

    def __init__(self, engine: EngineSpec, serving: ServingSpec, *, vocab_size: int) -> None:
        self._engine = engine
        self._serving = serving
        self._vocab_size = vocab_size
        self._pool = BlockPool(
            kv_cache_tokens=serving.kv_cache_tokens, tokens_per_block=engine.tokens_per_block
        )
        self._no_evict = serving.scheduler_policy is SchedulerPolicy.GUARANTEED_NO_EVICT
        self._static = serving.batching is BatchingStrategy.STATIC
        if serving.chunked_context and engine.max_num_tokens < engine.tokens_per_block:
            rule = f"a context chunk needs at least tokens_per_block ({engine.tokens_per_block})"
            raise UsageError("max_num_tokens", engine.max_num_tokens, rule)
        self._known: dict[int, _Sequence] = {}
        self._waiting: deque[_Sequence] = deque()
        self._running: list[_Sequence] = []
        self._reserved = 0
        self._paused = 0
        self._iteration = 0
        self._step: Step | None = None
        self._contexts: list[_Sequence] = []
        self._generations: list[_Sequence] = []

    # --- Requests come and go ---------------------------------------------------------------

    def check(self, request: SimRequest) -> None:
        """Raise UsageError, naming the limit, if the request could never run."""
        engine, total = self._engine, request.prompt_tokens + request.max_tokens
        for name in ("prompt_tokens", "max_tokens"):
            if getattr(request, name) < 1:
                raise UsageError(name, getattr(request, name), "it must be at least 1")
        _limit("prompt_tokens", request.prompt_tokens, engine.max_input_len, "max_input_len")
        _limit("prompt_tokens + max_tokens", total, engine.max_seq_len, "max_seq_len")
        cached = self._pool.capacity * engine.tokens_per_block
        _limit("prompt_tokens + max_tokens", total, cached, "the whole KV cache")
        if not self._serving.chunked_context:
            # A paused request runs its context again with all it has said, in one iteration.
            longest = request.prompt_tokens if self._no_evict else total - 1
            without = "max_num_tokens without chunked context"
            _limit("context tokens", longest, engine.max_num_tokens, without)

    def submit(self, request: SimRequest) -> None:
        """Queue a request; raises UsageError if it could never run."""
        self.check(request)
        if request.id in self._known:
            raise UsageError("id", request.id, "a request with this id is still running")
        output = draw_output(
            seed=request.seed,
            max_tokens=request.max_tokens,
            vocab_size=self._vocab_size,
            end_id=request.end_id,
            min_tokens=request.min_tokens,
        )
        sequence = _Sequence(request, output)
        self._known[request.id] = sequence
        self._waiting.append(sequence)

    def cancel(self, request_id: int) -> bool:
        """Drop a request and its blocks at once; False if it is not (or no longer) known."""
        sequence = self._known.get(request_id)
        if sequence is None:
            return False
        (self._running if sequence in self._running else self._waiting).remove(sequence)
        self._retire(sequence)
        return True

    # --- One iteration ----------------------------------------------------------------------

    def next_step(self) -> Step | None:
        """Plan the next iteration; None when nothing can run."""
        if self._step is not None:
            msg = f"iteration {self._step.iteration} is not finished"
            raise RuntimeError(msg)
        self._paused = 0
        self._grow_tables()
        self._generations = [s for s in self._running if not s.context_left]
        # Never negative: each of them took a token of this budget when its context ran.
        chunks = self._plan_contexts(self._engine.max_num_tokens - len(self._generations))
        if not chunks and not self._generations:
            return None
        self._iteration += 1
        generation = tuple([s.cached + 1 for s in self._generations])
        self._step = Step(iteration=self._iteration, context=chunks, generation=generation)
        return self._step

    def finish_step(self, step: Step) -> list[Emission]:
        """Apply a planned iteration and return its tokens, contexts first."""
        if step is not self._step:
            msg = f"iteration {step.iteration} is not the one that was planned last"
            raise RuntimeError(msg)
        self._step = None
        emissions: list[Emission] = []
        for sequence, chunk in zip(self._contexts, step.context, strict=True):
            sequence.cached += chunk.tokens
            sequence.context_left -= chunk.tokens
            if sequence.live and not sequence.context_left:
                emissions.append(sequence.advance())
        for sequence in self._generations:
            sequence.cached += 1
            if sequence.live:
                emissions.append(sequence.advance())
        self._retire_finished(emissions)
        return emissions

    @property
    def generating(self) -> tuple[int, ...]:
        """The requests behind the planned iteration's `generation`, in its order."""
        return tuple([sequence.request.id for sequence in self._generations])

    def block_table(self, request_id: int) -> Sequence[int]:
        """The KV-cache blocks of a running request, in the order of its tokens."""
        return self._pool.tables[request_id]

    def stats(self) -> SchedulerStats:
        """Count requests and blocks as they stand."""
        step = self._step
        contexts = len(self._contexts) if step else 0
        generations = len(self._generations) if step else 0
        return SchedulerStats(
            active=len(self._known),
            waiting=len(self._waiting),
            scheduled=contexts + generations,
            context=contexts,
            generation=generations,
            context_tokens=step.context_tokens if step else 0,
            paused=self._paused if step else 0,
            max_requests=self._engine.max_batch_size,
            kv_blocks_max=self._pool.capacity,
            kv_blocks_free=self._pool.free,
            kv_blocks_used=self._pool.used,
            tokens_per_block=self._pool.tokens_per_block,
            iteration=self._iteration,
        )

    # --- Planning ---------------------------------------------------------------------------

    def _grow_tables(self) -> None:
        # A generation step caches one more token, which now and then opens a block.
        per_block = self._engine.tokens_per_block
        for sequence in tuple(self._running):
            if sequence.context_left or sequence.cached % per_block:
                continue
            while not self._pool.grow(sequence.request.id, sequence.cached + 1):
                youngest = self._running.pop()
                self._pause(youngest)
                if youngest is sequence:
                    return

    def _pause(self, sequence: _Sequence) -> None:
        self._pool.release(sequence.request.id)
        sequence.restart()
        self._waiting.appendleft(sequence)
        self._paused += 1

    def _plan_contexts(self, budget: int) -> tuple[ContextChunk, ...]:
        self._contexts = []
        chunks: list[ContextChunk] = []
        for sequence in self._candidates():
            tokens = self._chunk(sequence, budget)
            if not tokens:
                break
            budget -= tokens
            self._contexts.append(sequence)
            chunks.append(
                ContextChunk(request_id=sequence.request.id, tokens=tokens, past=sequence.cached)
            )
        return tuple(chunks)

    def _candidates(self) -> Iterator[_Sequence]:
        """Contexts in order of arrival: those that have a place, then those that find one.

        The latter get it only when the caller asks for the next, that is, after they were planned.
        """
        if self._static and not self._running:
            while self._admissible():
                self._admit()
        yield from [sequence for sequence in self._running if sequence.context_left]
        while not self._static and self._admissible():
            yield self._waiting[0]
            self._admit()

    def _chunk(self, sequence: _Sequence, budget: int) -> int:
        """Context tokens of this sequence that fit the budget; 0 if none may run."""
        if sequence.context_left <= budget:
            return sequence.context_left
        if not self._serving.chunked_context:
            return 0
        return budget - budget % self._engine.tokens_per_block

    def _admissible(self) -> bool:
        """Whether the head of the queue finds a slot and the blocks its policy asks for."""
        if not self._waiting or len(self._running) >= self._engine.max_batch_size:
            return False
        head = self._waiting[0]
        if self._no_evict:
            return self._reserved + self._whole_life(head) <= self._pool.capacity
        return self._pool.blocks_for(head.context_left) <= self._pool.free

    def _admit(self) -> None:
        sequence = self._waiting.popleft()
        self._running.append(sequence)
        if self._no_evict:
            sequence.reserved = self._whole_life(sequence)
            self._reserved += sequence.reserved
        self._pool.grow(sequence.request.id, sequence.context_left)

    def _whole_life(self, sequence: _Sequence) -> int:
        request = sequence.request
        return self._pool.blocks_for(request.prompt_tokens + request.max_tokens)

    # --- Endings ----------------------------------------------------------------------------

    def _retire_finished(self, emissions: list[Emission]) -> None:
        finished = [emission.request_id for emission in emissions if emission.final]
        for request_id in finished:
            self._retire(self._known[request_id])
        if finished:
            self._running = [sequence for sequence in self._running if sequence.live]

    def _retire(self, sequence: _Sequence) -> None:
        sequence.live = False
        self._reserved -= sequence.reserved
        self._pool.release(sequence.request.id)
        del self._known[sequence.request.id]


def _limit(name: str, value: int, most: int, source: str) -> None:
    if value > most:
        raise UsageError(name, value, f"it must not exceed {most} ({source})")
