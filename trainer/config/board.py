"""`tensorboard:` what a training shows of itself."""

from typing import Annotated, Literal

from pydantic import Field

from trainer.config.base import Section


class Board(Section):
    """What is written for TensorBoard while a training goes on; scalars are written every epoch,
    and each page below in the epochs that `every` says, the first and the last among them."""

    enabled: bool = True  # false: nothing at all
    every: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"  # epochs; auto: see the purse
    config: bool = True  # the config, as text
    graph: bool = True  # the layers
    norms: bool = True  # of weights and gradients
    histograms: bool = True  # of the weights
    images: int = Field(default=16, ge=0)  # of the epoch's first batch, augmented; 0: none
    confusion: bool = True
    pr_curves: bool = True
    reliability: bool = True
    mistakes: int = Field(default=16, ge=0)  # the worst ones; 0: none
    gradcam: int = Field(default=6, ge=0)  # pictures, the same in all epochs; 0: none
    hparams: bool = True  # a row of the table in which runs compare
