"""The search itself, on Optuna: seeded, kept in a journal, resumed where it was stopped.

Each candidate is proposed by a sampler that knows nothing but the seed and the finished trials, so
that a search that was interrupted goes on as if it had not been.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from perfgate import codec
from perfgate.errors import MissingRequirementError, UsageError
from perfgate.explore.space import Range, Space
from perfgate.explore.trials import Evaluate, Goal, Outcome, Trial, tried

if TYPE_CHECKING:
    import optuna

JOURNAL = "trials.journal"

_STUDIES = {"fastest": ("maximize",), "front": ("maximize", "minimize")}
_TURN = 4
_RANDOM_TRIALS = 40
_LEAST_FOR_IMPORTANCE = 40
_SEED_STRIDE = 1_000_003
_NUMBER, _OUTCOME, _FAILURE, _ASKED = "number", "outcome", "failure", "asked"


class Search:
    """A search of one space for one goal, in one folder; opening it again goes on with it.

    Three trials in four look for the highest throughput that meets the goal, the fourth for the
    front of throughput and P95. Raises MissingRequirementError without Optuna, UsageError for a
    folder that holds another search.
    """

    def __init__(self, folder: Path, space: Space, goal: Goal, *, seed: int) -> None:
        self._optuna = _optuna()
        self._space = space
        self._goal = goal
        self._seed = seed
        folder.mkdir(parents=True, exist_ok=True)
        journal = folder / JOURNAL
        _drop_half_a_line(journal)
        optuna = self._optuna
        storage = optuna.storages.JournalStorage(
            optuna.storages.journal.JournalFileBackend(str(journal))
        )
        self._studies = [
            optuna.create_study(
                study_name=name, storage=storage, directions=directions, load_if_exists=True
            )
            for name, directions in _STUDIES.items()
        ]
        self._require_same_search(folder)
        self._forget_interrupted()

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The finished trials, in the order in which they were tried."""
        done = [trial for study in self._studies for trial in _finished(study)]
        ordered = sorted(done, key=lambda trial: trial.user_attrs[_NUMBER])
        return tuple(self._trial(one) for one in ordered)

    def step(self, evaluate: Evaluate) -> Trial:
        """Propose a candidate, try it, and keep what came of it."""
        number = sum(len(_finished(study)) for study in self._studies)
        study = self._studies[number % _TURN == _TURN - 1]
        study.sampler = self._sampler(number)
        if not number:
            self._enqueue_start(study)
        asked = study.ask()
        settings = self._space.settings(_suggested(asked, self._space.ranges))
        trial = tried(number, settings, evaluate)
        asked.set_user_attr(_NUMBER, number)
        if trial.outcome is None:
            asked.set_user_attr(_FAILURE, trial.failure)
            study.tell(asked, state=self._optuna.trial.TrialState.FAIL)
            return trial
        for name, excess in self._goal.excess(trial.outcome).items():
            asked.set_constraint(name, excess)
        asked.set_user_attr(_OUTCOME, codec.to_json(trial.outcome).decode())
        reached = (trial.outcome.throughput_tok_s, trial.outcome.latency_p95_s)
        study.tell(asked, reached[: len(study.directions)])
        return trial

    def importance(self) -> dict[str, float]:
        """How much each searched value decides whether a trial is among the best tenth.

        By PED-ANOVA over the trials that looked for the fastest; shares add up to 1. Watanabe,
        Bansal and Hutter, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in
        Arbitrary Subspaces", IJCAI 2023. Empty under forty trials, which hold no tenth.
        """
        study, goal = self._studies[0], self._goal

        def cost(trial: optuna.trial.FrozenTrial) -> float:
            outcome = _outcome(trial)
            worst = max(goal.excess(outcome).values())
            return worst if worst > 0 else -outcome.throughput_tok_s

        complete = [one for one in _finished(study) if _OUTCOME in one.user_attrs]
        if len(complete) < _LEAST_FOR_IMPORTANCE:
            return {}
        found = self._optuna.importance.get_param_importances(study, target=cost)
        return {name: float(share) for name, share in found.items()}

    def _enqueue_start(self, study: optuna.Study) -> None:
        """Let the search begin with the point as it is served today, if its ranges hold that."""
        space = self._space
        start = space.values(space.settings_of(space.start))
        if all(one.holds(start[name]) for name, one in space.ranges.items()):
            study.enqueue_trial(start, skip_if_exists=True)

    def _sampler(self, number: int) -> optuna.samplers.BaseSampler:
        seed = self._seed * _SEED_STRIDE + number
        sampler: optuna.samplers.BaseSampler = self._optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=_RANDOM_TRIALS
        )
        return sampler

    def _trial(self, stored: optuna.trial.FrozenTrial) -> Trial:
        return Trial(
            number=stored.user_attrs[_NUMBER],
            settings=self._space.settings(stored.params),
            outcome=_outcome(stored) if _OUTCOME in stored.user_attrs else None,
            failure=stored.user_attrs.get(_FAILURE, ""),
        )

    def _require_same_search(self, folder: Path) -> None:
        asked = hashlib.sha256(codec.to_json((self._space, self._goal, self._seed))).hexdigest()
        for study in self._studies:
            known = study.user_attrs.get(_ASKED)
            if known is None:
                study.set_user_attr(_ASKED, asked)
            elif known != asked:
                rule = "it holds a search of another point, profile, goal or seed: name another"
                raise UsageError("--output", str(folder), rule)

    def _forget_interrupted(self) -> None:
        """A trial that was stopped in the middle has no outcome: its place is taken anew."""
        running = self._optuna.trial.TrialState.RUNNING
        for study in self._studies:
            for trial in study.get_trials(deepcopy=False, states=(running,)):
                study.tell(trial.number, state=self._optuna.trial.TrialState.FAIL)


def _finished(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    return [one for one in study.get_trials(deepcopy=False) if _is_finished(one)]


def _is_finished(trial: optuna.trial.FrozenTrial) -> bool:
    """Whether it has an outcome, or could not be served; one that was stopped has neither."""
    return trial.state.is_finished() and (
        _OUTCOME in trial.user_attrs or _FAILURE in trial.user_attrs
    )


def _outcome(trial: optuna.trial.FrozenTrial) -> Outcome:
    return codec.from_json(trial.user_attrs[_OUTCOME].encode(), Outcome, origin=JOURNAL)


def _suggested(trial: optuna.Trial, ranges: Mapping[str, Range]) -> dict[str, object]:
    return {name: _suggest(trial, name, one) for name, one in ranges.items()}


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
