"""What validation says of a run's probabilities, and whether it is built into them."""

import contextlib
import json
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

from trainer import files, records
from trainer import run as runs
from trainer.config import Config
from trainer.config.evaluation import Evaluation
from trainer.config.load import located
from trainer.errors import UserError
from trainer.evaluation import calibration
from trainer.evaluation.metrics import Scored

WHERE = "evaluation.confidence"


class Confidence(NamedTuple):
    """`confidence.json` of a run. The last evaluation decides, whatever the config says later."""

    temperature: float = 1.0  # under which validation is most likely
    applied: bool = False  # whether the probabilities are those after it
    thresholds: Sequence[float] | None = None  # of a run with several labels per picture
    reject: dict[str, float] | None = None  # precision wanted, probability, share kept
    fitted_on: str | None = None
    end: Literal["most", "least"] | None = None  # of the search, if the temperature is at one

    def probabilities(self, scores_NK: np.ndarray, multi_label: bool) -> np.ndarray:
        """What the network says, float64 [N, K], of its scores at temperature 1."""
        temperature = self.temperature if self.applied else 1.0
        return calibration.tempered(scores_NK, temperature, multi_label)


def fitted(spec: Evaluation, validation: Scored, multi_label: bool) -> Confidence:
    """What the config wants, from the pictures of validation and their scores at temperature 1."""
    truth, scores_NK, _ = validation
    holds_NK = truth if multi_label else truth[:, None] == np.arange(scores_NK.shape[1])
    temperature = calibration.fit_temperature(holds_NK, scores_NK, multi_label)
    found = Confidence(
        temperature,
        spec.confidence.temperature,
        fitted_on="validation",
        end=calibration.bound(temperature),
    )
    final_NK = found.probabilities(scores_NK, multi_label)
    if multi_label:
        given = spec.thresholds
        best = calibration.best_thresholds(holds_NK, final_NK) if given == "f1" else None
        return found._replace(thresholds=best or [float(given)] * holds_NK.shape[1])
    wanted = spec.confidence.precision
    if wanted is None:
        return found
    right_N = final_NK.argmax(axis=1) == truth
    reject = calibration.reject_threshold(final_NK.max(axis=1), right_N, wanted)
    if reject is None:
        return found
    least, kept = reject
    return found._replace(reject={"precision": wanted, "probability": least, "kept": kept})


def write(run: runs.Run, confidence: Confidence) -> None:
    """Keeps it."""
    files.write_json(run.confidence, confidence._asdict())


def read(run: runs.Run) -> Confidence:
    """What is kept; where nothing is, that nothing is known. Raises UserError if it is damaged."""
    try:
        found: dict[str, Any] = json.loads(run.confidence.read_text(encoding="utf-8"))
        return Confidence(**found)
    except FileNotFoundError:
        return Confidence()
    except (OSError, ValueError, TypeError) as error:
        hint = "trainer evaluate writes it anew"
        raise UserError(str(run.confidence), f"is not understood: {error}", hint) from None


def taken_out(run: runs.Run, confidence: Confidence) -> float | None:
    """The temperature that what is kept has built in, if another confidence does not."""
    with contextlib.suppress(UserError):  # damaged: it is written anew
        kept = read(run)
        taken = kept.applied and not confidence.applied and kept.temperature != 1
        return kept.temperature if taken else None
    return None


def temperature(run: runs.Run, config: Config) -> float:
    """By which the network's logits are to be divided.

    Raises: UserError if the config wants what no evaluation has built in.
    """
    found = read(run)
    if config.evaluation.confidence.temperature and not found.applied:
        problem = f"{run.folder} was not evaluated with it"
        untested = not records.read_data(run)["pictures"].get("test")
        split = " --split validation" if untested else ""
        hint = f"trainer evaluate {run.folder}{split} --set {WHERE}.temperature=true"
        with located(config):
            raise UserError(f"{WHERE}.temperature", problem, hint)
    return found.temperature if found.applied else 1.0


def thresholds(run: runs.Run, config: Config, classes: int) -> tuple[float, ...]:
    """From which probability on each label of a picture holds."""
    kept, given = read(run).thresholds, config.evaluation.thresholds
    first = calibration.THRESHOLD if given == "f1" else given
    return tuple(kept) if kept else (first,) * classes
