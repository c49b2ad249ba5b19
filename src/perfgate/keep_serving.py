"""A simulated target that stays up until it is told to stop: to look at, to scrape, to try."""

from __future__ import annotations

import contextlib
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from perfgate.engines.build import build
from perfgate.load.planner import prompts_needed
from perfgate.load.running import RunningLoad
from perfgate.model import OperatingPoint, Sampling, Server, Workload
from perfgate.serving.command import Ports
from perfgate.serving.metrics import scrape
from perfgate.serving.process import serve
from perfgate.serving.tokenizer import load_tokenizer, prompts
from perfgate.setting import Setting

_LOOK_S = 2.0
_WAVES = 30  # one load's requests by client: from its end to the next is a gap of seconds


def keep_serving(
    point: OperatingPoint,
    setting: Setting,
    *,
    ports: Ports,
    concurrency: int,
    tell: Callable[[Server], None],
) -> None:
    """Serve the point's engine until Ctrl-C or SIGTERM, with `concurrency` clients kept busy.

    `tell` is called once it answers. With 0 clients it only serves. Raises ServerError if it
    cannot start or dies, LoadError if the load breaks.
    """
    load = replace(point.workload, concurrency=concurrency) if concurrency else None
    engine = build(
        point.engine,
        target=setting.target,
        profile=setting.profile,
        cache=setting.cache / "engines",
    )
    with until_told_to_stop(), ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="perfgate-")))
        server = stack.enter_context(serve(engine, point.serving, workdir=folder, ports=ports))
        tell(server)
        if load is None:
            _stay(server)
        _keep_busy(server, load, folder)


@contextmanager
def until_told_to_stop() -> Iterator[None]:
    """Leave the block quietly on Ctrl-C or SIGTERM, which is what containers are stopped with."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with contextlib.suppress(KeyboardInterrupt):
            yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stay(server: Server) -> NoReturn:
    while True:
        scrape(server.metrics_url)  # raises once nobody answers
        time.sleep(_LOOK_S)  # nothing tells of a server's end but asking it


def _keep_busy(server: Server, workload: Workload, folder: Path) -> NoReturn:
    tokenizer = load_tokenizer()
    sampling = Sampling(rounds=1, round_requests=_WAVES * workload.concurrency)
    count, seed = prompts_needed(workload, sampling), workload.seed
    while True:
        texts = prompts(tokenizer, isl=workload.isl, count=count, seed=seed)
        with RunningLoad(server, workload, texts, spool=folder) as load:
            load.ramp_up()
            load.round(sampling.round_requests)
            load.finish()  # broken off, requests count as failed, and Triton may die of it
        seed += 1  # a prompt seen before could come from a cache
