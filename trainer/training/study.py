"""A search as Optuna keeps it: what is tried, what came out, what to try next. The only file that
imports optuna.

Importing this file raises a UserError where Optuna is not installed.
"""

import inspect
import math
import warnings
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import objects
from trainer.config.base import Call
from trainer.config.search import Domain, Search
from trainer.errors import UserError

try:
    import optuna
except ImportError:
    raise UserError(
        "tune search", 'needs an extra: pip install "keras-image-trainer[tune]"'
    ) from None

optuna.logging.set_verbosity(optuna.logging.ERROR)
State = optuna.trial.TrialState

# Their seed shuffles a whole sequence, of which every trial takes the next one.
SEQUENCES = ("QMCSampler", "GridSampler")
STARTS = 3  # of a trial whose process dies


class Trial(NamedTuple):
    """One trial, as a table needs it."""

    number: int
    state: str  # complete, pruned, fail, running
    value: float | None  # of the best epoch; of a pruned trial, of the last
    values: dict[str, Any]  # path in the config -> what was tried
    facts: dict[str, Any]  # what `note` kept


def distributions(spec: Search) -> dict[str, optuna.distributions.BaseDistribution]:
    """Optuna's form of the space. Raises: UserErrors with its reasons."""
    found, mistakes = {}, []
    for path, domain in spec.space.items():
        try:
            found[path] = _distribution(domain)
        except ValueError as error:
            reason = " ".join(str(error).split())
            mistakes.append(UserError(f"space.{path}", f"refused by optuna: {reason}"))
    if mistakes:
        raise ExceptionGroup("space", mistakes)
    return found


def demand(spec: Search) -> None:
    """Raises UserErrors for a space, a sampler or a pruner that Optuna refuses."""
    distributions(spec)
    _sampler(spec, 0)
    _pruner(spec)


def _distribution(domain: Domain) -> optuna.distributions.BaseDistribution:
    if domain.float:
        return optuna.distributions.FloatDistribution(**domain.float.model_dump())
    if domain.int:
        return optuna.distributions.IntDistribution(**domain.int.model_dump())
    return optuna.distributions.CategoricalDistribution(tuple(domain.choices()))


def create(file: Path, spec: Search, direction: str, facts: Mapping[str, Any]) -> None:
    """A new study in a database of its own.

    Args:
        direction: `min` or `max`.
        facts: what the search is, to be found again by `facts`.
    """
    study = optuna.create_study(
        storage=_storage(file),
        study_name=spec.name,
        direction="minimize" if direction == "min" else "maximize",
    )
    for name, value in facts.items():
        study.set_user_attr(name, value)


class Study:
    """A search that goes on: Optuna's study, whose sampler is made anew for every trial.

    Its generator is seeded by the seed and the trial's number. So a search that was interrupted
    tries what it would have tried; a sampler that begins again with its seed would repeat itself.
    """

    def __init__(self, file: Path, spec: Search) -> None:
        self.spec = spec
        self._space = distributions(spec)
        self._study = optuna.load_study(
            study_name=spec.name,
            storage=_storage(file),
            sampler=_sampler(spec, 0),
            pruner=_pruner(spec),
        )

    @property
    def mode(self) -> str:
        """`min` or `max`."""
        return self._study.direction.name.lower()[:3]

    @property
    def facts(self) -> dict[str, Any]:
        """What `create` was given."""
        return self._study.user_attrs

    @property
    def exhausted(self) -> bool:
        """Whether this sampler has said that nothing is left to try."""
        return self.facts.get("exhausted") == self.spec.sampler.written()

    def trials(self) -> list[Trial]:
        """All, by number."""
        return [self._plain(each) for each in self._study.get_trials(deepcopy=False)]

    def finished(self) -> int:
        """How many have come to an end, whichever."""
        return sum(each.state not in ("running", "waiting") for each in self.trials())

    def next(self) -> Trial:
        """The trial that was killed, if one was, else a new one. Raises: UserError with the
        sampler's reason."""
        running = [each for each in self.trials() if each.state == "running"]
        if running:
            return running[0]
        number = len(self._study.get_trials(deepcopy=False))
        self._study.sampler = _sampler(self.spec, number)
        try:
            trial = self._study.ask(self._space)
        except Exception as error:  # a sampler of another library, or the user's own
            problem = f"cannot choose: {' '.join(str(error).split())}"
            raise UserError(f"sampler.{self.spec.sampler.name}", problem) from None
        return self._plain(self._frozen(trial.number))

    def note(self, number: int, **facts: Any) -> None:
        """Keeps facts about a running trial."""
        for name, value in facts.items():
            self._trial(number).set_user_attr(name, value)

    def report(self, number: int, value: float, epoch: int) -> bool:
        """Keeps what a running trial has after an epoch (counted from 1); whether it is hopeless.

        What was reported of an epoch before a kill stays.
        """
        trial = self._trial(number)
        with warnings.catch_warnings(action="ignore"):
            trial.report(value, epoch)
        return trial.should_prune()

    def tell(self, number: int, value: float | None, pruned: bool = False) -> None:
        """A trial has ended, failed if it has no value."""
        failed = not pruned and (value is None or math.isnan(value))
        state = State.PRUNED if pruned else State.FAIL if failed else State.COMPLETE
        try:
            self._study.tell(number, value if state == State.COMPLETE else None, state)
        except RuntimeError as error:  # after it has been kept: a sampler with a finite number
            if "stop" not in str(error):
                raise
            self._study.set_user_attr("exhausted", self.spec.sampler.written())

    def importances(self) -> dict[str, float]:
        """The share of each path in what distinguishes good trials, by PED-ANOVA (Watanabe et al.
        2023), the largest first; empty where there are too few trials to say."""
        with suppress(ValueError, RuntimeError), warnings.catch_warnings(action="ignore"):
            return optuna.importance.get_param_importances(self._study)
        return {}

    def _plain(self, trial: optuna.trial.FrozenTrial) -> Trial:
        values = {
            path: self.spec.space[path].choices().get(value, value)
            for path, value in trial.params.items()
        }
        value = trial.values[0] if trial.values else None
        return Trial(trial.number, trial.state.name.lower(), value, values, trial.user_attrs)

    def _frozen(self, number: int) -> optuna.trial.FrozenTrial:
        return self._study.get_trials(deepcopy=False)[number]

    def _trial(self, number: int) -> optuna.trial.Trial:
        # What `ask` returns is bound to its process; Optuna has no other way back to a trial.
        return optuna.trial.Trial(self._study, self._frozen(number)._trial_id)


def _storage(file: Path) -> optuna.storages.RDBStorage:
    return optuna.storages.RDBStorage(f"sqlite:///{file.absolute()}")


def _sampler(spec: Search, number: int) -> optuna.samplers.BaseSampler:
    """The sampler for a trial of that number. Raises: UserErrors."""
    call = spec.sampler
    if "seed" not in call.arguments and "." not in call.name and _takes_seed(call):
        mixed = int(np.random.SeedSequence([spec.seed, number]).generate_state(1)[0])
        seed = spec.seed if call.name in SEQUENCES else mixed
        call = Call(call.name, {**call.arguments, "seed": seed})
    with warnings.catch_warnings(action="ignore"):
        return objects.make(call, "optuna.samplers", "sampler")


def _pruner(spec: Search) -> optuna.pruners.BasePruner:
    with warnings.catch_warnings(action="ignore"):
        if spec.pruner:
            return objects.make(spec.pruner, "optuna.pruners", "pruner")
        return optuna.pruners.NopPruner()


def _takes_seed(call: Call) -> bool:
    found = getattr(optuna.samplers, call.name, None)
    return found is not None and "seed" in inspect.signature(found).parameters
