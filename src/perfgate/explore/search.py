"""The search itself, on Optuna: seeded, kept in a journal, resumed where it was stopped.

Optuna proposes settings without a concurrency. Each candidate is then tried at rising or falling
concurrency until the highest one under the ceiling is known (`climb`): what a setting is worth
would otherwise drown in what one client more is worth.

Each candidate is proposed by a sampler that knows nothing but the seed and the finished candidates,
so that a search that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfgate import codec
from perfgate.errors import MissingRequirementError, UsageError
from perfgate.explore.space import Range, Space
from perfgate.explore.trials import Evaluate, Goal, Trial, climb, fastest, nearest

if TYPE_CHECKING:
    import optuna

JOURNAL = "candidates.journal"

_STUDY = "explore"
_RANDOM_CANDIDATES = 30
_LEAST_FOR_IMPORTANCE = 40
_SEED_STRIDE = 1_000_003
_TRIALS, _ASKED = "trials", "asked"


class Search:
    """A search of one space for one goal, in one folder; opening it again goes on with it.

    A candidate is tried at `tries` concurrencies at most. Raises MissingRequirementError without
    Optuna, UsageError for a folder that holds another search.
    """

    def __init__(self, folder: Path, space: Space, goal: Goal, *, seed: int, tries: int) -> None:
        self._optuna = library = _optuna()
        self._space = space
        self._goal = goal
        self._seed = seed
        self._tries = tries
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL
        _drop_half_a_line(journal)
        storage = library.storages.JournalStorage(
            library.storages.journal.JournalFileBackend(str(journal))
        )
        self._study: optuna.Study = library.create_study(
            study_name=_STUDY, storage=storage, direction="maximize", load_if_exists=True
        )
        self._require_same_search(folder)
        self._forget_interrupted()

    @property
    def candidates(self) -> int:
        """How many candidates have been tried."""
        return len(self._finished())

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every trial of every candidate, numbered in the order in which they were made."""
        stored = [trial for one in self._finished() for trial in _stored(one)]
        return tuple(replace(trial, number=number) for number, trial in enumerate(stored))

    def step(self, evaluate: Evaluate) -> None:
        """Propose a candidate, try it, and keep what came of it."""
        study, space, number = self._study, self._space, self.candidates
        study.sampler = self._sampler(number)
        if not number:
            self._enqueue_start()
        asked = study.ask()
        values = {name: _suggest(asked, name, one) for name, one in space.ranges.items()}
        trials = climb(
            lambda concurrency: space.settings(values, concurrency),
            self._goal,
            evaluate,
            first=space.start.workload.concurrency,
            tries=self._tries,
        )
        asked.set_user_attr(_TRIALS, codec.to_json(trials).decode())
        best = nearest(trials, self._goal)
        if best is None or best.outcome is None:
            study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
            return
        for name, excess in self._goal.excess(best.outcome).items():
            asked.set_constraint(name, excess)
        study.tell(asked, best.outcome.throughput_tok_s)

    def importance(self) -> dict[str, float]:
        """How much each searched value decides whether a candidate is among the best tenth.

        By PED-ANOVA; shares add up to 1. Watanabe, Bansal and Hutter, "PED-ANOVA: Efficiently
        Quantifying Hyperparameter Importance in Arbitrary Subspaces", IJCAI 2023. Empty under
        forty candidates, whose best tenth says nothing.
        """
        complete = self._study.get_trials(
            deepcopy=False, states=(self._optuna.trial.TrialState.COMPLETE,)
        )
        if len(complete) < _LEAST_FOR_IMPORTANCE:
            return {}
        with warnings.catch_warnings():
            # It reminds that a low target is good, which is what a cost is.
            warnings.simplefilter("ignore", UserWarning)
            found = self._optuna.importance.get_param_importances(self._study, target=self._cost)
        return {name: float(share) for name, share in found.items()}

    def _cost(self, candidate: optuna.trial.FrozenTrial) -> float:
        best = fastest(_stored(candidate), self._goal)
        return -best.outcome.throughput_tok_s if best and best.outcome else 0.0

    def _enqueue_start(self) -> None:
        """Let the search begin with the point as it is served today, or next to it."""
        space, waiting = self._space, self._optuna.trial.TrialState.WAITING
        values = space.values(space.settings_of(space.start))
        start = {name: one.nearest(values[name]) for name, one in space.ranges.items()}
        if not self._study.get_trials(deepcopy=False, states=(waiting,)):
            self._study.enqueue_trial(start)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self._seed * _SEED_STRIDE + number
        sampler: optuna.samplers.BaseSampler = self._optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_RANDOM_CANDIDATES
        )
        return sampler

    def _finished(self) -> list[optuna.trial.FrozenTrial]:
        """Candidates that were tried, if only to fail; one that was stopped has no trials."""
        every = self._study.get_trials(deepcopy=False)
        return [one for one in every if one.state.is_finished() and _TRIALS in one.user_attrs]

    def _require_same_search(self, folder: Path) -> None:
        what = (self._space, self._goal, self._seed, self._tries)
        asked = hashlib.sha256(codec.to_json(what)).hexdigest()
        known = self._study.user_attrs.get(_ASKED)
        if known is None:
            self._study.set_user_attr(_ASKED, asked)
        elif known != asked:
            rule = "it holds a search of another point, profile, goal or seed: name another"
            raise UsageError("--output", str(folder), rule)

    def _forget_interrupted(self) -> None:
        """A candidate that was stopped in the middle is proposed anew: drop what it left."""
        running = self._optuna.trial.TrialState.RUNNING
        for one in self._study.get_trials(deepcopy=False, states=(running,)):
            self._study.tell(one.number, state=self._optuna.trial.TrialState.FAIL)


def _stored(candidate: optuna.trial.FrozenTrial) -> tuple[Trial, ...]:
    data = candidate.user_attrs.get(_TRIALS, "[]").encode()
    return codec.from_json(data, tuple[Trial, ...], origin=JOURNAL)


def _suggest(trial: optuna.Trial, name: str, one: Range) -> object:
    if one.choices:
        return trial.suggest_categorical(name, one.choices)
    if one.whole:
        return trial.suggest_int(name, int(one.low), int(one.high), log=one.log)
    return trial.suggest_float(name, one.low, one.high, log=one.log)


def _drop_half_a_line(journal: Path) -> None:
    """Cut off what a kill left of the last line, so that the next one starts on its own."""
    if not journal.is_file():
        return
    data = journal.read_bytes()
    whole = data[: data.rfind(b"\n") + 1]
    if whole != data:
        codec.write_atomic(journal, whole)


def _optuna() -> Any:
    try:
        import optuna  # noqa: PLC0415 - an extra that only this command needs
    except ImportError as error:
        msg = "perfgate explore needs Optuna: pip install 'perfgate[explore]'"
        raise MissingRequirementError(msg) from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
