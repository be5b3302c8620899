"""`evaluation:` how good the network is, how far its confidence goes, and what it has to reach."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, Strict

from trainer.config.base import Section

Share = Annotated[float, Field(ge=0, le=1)]


class Confidence(Section):
    """What validation says of the probabilities."""

    temperature: bool = False  # whether the fitted one is built into the probabilities
    # From which probability on at least this share is right: below it predict says `unsure`.
    precision: float | None = Field(default=None, gt=0, le=1)


class Gates(Section):
    """What has to be reached, by the names of metrics.json; else the command exits with 3."""

    alike: ClassVar[bool] = True  # `accuracy` is not what is meant by `top_5_accuracy`

    accuracy: Share | None = None  # at least, down to the empty line
    balanced_accuracy: Share | None = None
    worst_recall: Share | None = None  # of the class that has the least
    macro_f1: Share | None = None
    micro_f1: Share | None = None
    roc_auc: Share | None = None
    mean_average_precision: Share | None = None
    matthews_correlation: float | None = Field(default=None, ge=-1, le=1)
    cohen_kappa: float | None = Field(default=None, ge=-1, le=1)
    exact_match: Share | None = None  # several labels per picture: every one of them right

    hamming_loss: Share | None = None  # at most, from here on
    log_loss: float | None = Field(default=None, gt=0)
    brier: float | None = Field(default=None, gt=0)
    calibration_error: Share | None = None
    latency_ms: float | None = Field(default=None, gt=0)  # of one picture, median, on this machine
    size_mb: float | None = Field(default=None, gt=0)  # of the weights in float32, 10^6 bytes

    def given(self) -> dict[str, float]:
        """Name -> bound of those that are set."""
        return self.model_dump(exclude_none=True)


AT_MOST = (
    *("hamming_loss", "log_loss", "brier", "calibration_error"),
    *("latency_ms", "size_mb"),
)


class Evaluation(Section):
    """The whole section."""

    top_k: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Strict(False)] = (5,)
    # Several labels per picture, from which probability on one holds. f1: the best on validation
    thresholds: Literal["f1"] | Annotated[float, Field(gt=0, lt=1)] = "f1"
    slices: Annotated[tuple[str, ...], Strict(False)] = ()  # columns of the CSV: figures by value
    bootstrap: int = Field(default=1000, ge=0)  # resamples; 0: no intervals
    level: float = Field(default=0.95, gt=0, lt=1)  # confidence of the intervals
    confidence: Confidence = Confidence()
    gates: Gates = Gates()
