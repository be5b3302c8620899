"""The YAML file, described as data. Nothing here imports TensorFlow, Keras or numpy."""

from typing import Annotated

from pydantic import Field, Strict, field_validator

from trainer.config.base import Placed
from trainer.config.board import Board
from trainer.config.data import Data
from trainer.config.evaluation import Evaluation
from trainer.config.export import Export, Onnx, SavedModel
from trainer.config.model import Model
from trainer.config.training import Training


class Config(Placed):
    """A whole run."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")  # the run's folder is named so
    seed: int = Field(default=1, ge=0, lt=2**32)  # what Keras takes
    runs: str = "runs"  # the folder in which runs are kept
    data: Data
    model: Model
    training: Training
    tensorboard: Board = Board()
    evaluation: Evaluation = Evaluation()
    export: Annotated[tuple[Export, ...], Strict(False)] = (
        SavedModel(kind="saved_model"),
        Onnx(kind="onnx"),
    )

    @field_validator("export")
    @classmethod
    def _one_of_each(cls, export: tuple[Export, ...]) -> tuple[Export, ...]:
        names = [each.file for each in export]
        for each in export:
            if names.count(each.file) > 1:
                raise ValueError(f"two exports of kind '{each.kind}' would write {each.file}")
        return export
