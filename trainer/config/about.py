"""What an exported file says of itself: all that whoever uses it must know."""

import json
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field, Strict, model_validator

from trainer.config.data import Presentation
from trainer.errors import UserError

FILE = "about.json"  # for formats that are folders or archives
DIGITS = 6  # of a probability that is written for people or programs


class Verdict(NamedTuple):
    """What a model says of a picture."""

    labels: tuple[str, ...]  # one; where several may hold all that do, maybe none
    probability: float  # of the least probable of them; if none holds, of the most probable one
    sure: bool = True  # whether that is at least `About.reject`


class About(Presentation):
    """How a picture becomes the input (RGB or grey pixels, 0 to 255; the network scales them) and
    what the K scores mean. Every exporter keeps it inside its file, value by value as JSON."""

    name: str  # of the config
    task: Literal["single_label", "multi_label"]
    labels: Annotated[tuple[str, ...], Strict(False), Field(min_length=1)]  # as the scores
    # From which probability on a label holds, one per label; for one label per picture none.
    thresholds: Annotated[tuple[float, ...], Strict(False)] = ()
    temperature: float = Field(default=1.0, gt=0)  # the logits were divided by it
    # Below this probability the one label of a picture is not sure enough; 0: it always is.
    reject: float = Field(default=0.0, ge=0, le=1)
    metrics: dict[str, float] = Field(default={})  # on the test split, before the export
    config_sha256: str = ""
    trainer: str = ""  # the version that wrote the file

    @model_validator(mode="after")
    def _one_threshold_per_label(self) -> "About":
        if self.task == "multi_label" and len(self.thresholds) != len(self.labels):
            raise ValueError(f"{len(self.thresholds)} thresholds for {len(self.labels)} labels")
        return self

    def verdict(self, scores_K: Sequence[float]) -> Verdict:
        """The most probable label, of equal ones the first; where several may hold, all from their
        thresholds on."""
        if self.task == "single_label":
            holding = [max(range(len(scores_K)), key=scores_K.__getitem__)]
        else:
            pairs = enumerate(zip(scores_K, self.thresholds, strict=True))
            holding = [index for index, (score, least) in pairs if score >= least]
        least = min((scores_K[index] for index in holding), default=max(scores_K))
        labels = tuple(self.labels[index] for index in holding)
        return Verdict(labels, least, least >= self.reject)

    def answer(self, scores_K: Sequence[float]) -> dict[str, Any]:
        """The verdict in JSON: `label`, or `labels` where several may hold; `probability`; whether
        it is `sure`, if the model can be unsure; and the `probabilities` of all."""
        labels, probability, sure = self.verdict(scores_K)
        rounded = (round(score, DIGITS) for score in scores_K)
        return {
            **({"label": labels[0]} if self.task == "single_label" else {"labels": labels}),
            "probability": round(probability, DIGITS),
            **({"sure": sure} if self.reject else {}),
            "probabilities": dict(zip(self.labels, rounded, strict=True)),
        }

    def written(self) -> dict[str, str]:
        """Field -> JSON, for formats that keep texts by name."""
        return {key: json.dumps(value) for key, value in self.model_dump(mode="json").items()}


def read(values: Mapping[str, str], where: str) -> About:
    """The inverse of `written`; what else a file keeps is ignored.

    Raises: UserError at `where` if the file does not say what is needed.
    """
    try:
        known = {key: json.loads(values[key]) for key in About.model_fields if key in values}
        return About.model_validate(known)
    except (ValueError, RecursionError) as error:  # pydantic's is a ValueError
        missing = sorted({"labels", "image_size", "task", "name"} - set(values))
        problem = f"does not say {', '.join(missing)}" if missing else f"is not understood: {error}"
        raise UserError(
            where, problem, "give a file that trainer export wrote, or the folder of a run"
        ) from None


def parse(content: str | bytes, where: str) -> About:
    """The inverse of `model_dump_json`, for what lies in `FILE`. Raises: as `read`."""
    try:
        values = {key: json.dumps(value) for key, value in json.loads(content).items()}
    except (ValueError, AttributeError, RecursionError):  # no JSON, or no mapping
        values = {}
    return read(values, where)
