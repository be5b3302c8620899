"""The phases of a training: what trains in each, with an optimizer of its own.

A training without phases is one of a single stage.
"""

from collections.abc import Sequence
from typing import NamedTuple

import keras
import tensorflow as tf

from trainer.config.training import Stage, Training
from trainer.errors import UserError
from trainer.training import freeze, objective, optimizers


class Plan(NamedTuple):
    """All that it takes to enter any phase; phases count from 0."""

    spec: Training
    model: keras.Model
    strategy: tf.distribute.Strategy
    backbone: Sequence[str]  # the names of the layers that `frozen: backbone` means
    own: Sequence[bool]  # what trains by itself: see freeze.flags
    classes: int  # how many
    steps: int  # batches per epoch

    def values(self, epochs: int) -> dict[str, int]:
        """What `$classes`, `$steps_per_epoch` and `$total_steps` stand for in so many epochs:
        updates, which with gradient accumulation are fewer than batches; rounded down, at least 1.
        """
        batches = self.spec.accumulated()
        return {
            "$classes": self.classes,
            "$steps_per_epoch": max(1, self.steps // batches),
            "$total_steps": max(1, self.steps * epochs // batches),
        }

    def begin(self, phase: int = 0) -> objective.Objective:
        """All that is trained towards, with the optimizer of this phase.

        The other phases are tried before, so that a mistake in them does not show after hours.
        Raises: UserErrors.
        """
        for number, stage in enumerate(self.spec.stages()):
            self._demand_updates(stage)
            if number != phase:
                freeze.apply(self.model, stage, self.own, self.backbone)
                optimizers.make(self.spec, stage, self.model, self.values(stage.epochs))
        stage = self.spec.stages()[phase]
        freeze.apply(self.model, stage, self.own, self.backbone)
        values = self.values(stage.epochs)
        return objective.build(self.spec, self.model, values, self.strategy, stage)

    def enter(self, aims: objective.Objective, phase: int) -> objective.Objective:
        """Those of another phase: metrics and averages go on, the optimizer is a new one."""
        stage = self.spec.stages()[phase]
        freeze.apply(self.model, stage, self.own, self.backbone)
        values = self.values(stage.epochs)
        return objective.enter(aims, self.spec, stage, self.model, values, self.strategy)

    def scheduled(self) -> bool:
        """Whether in any phase the learning rate is not a plain number."""
        return any(
            optimizers.has_schedule(
                optimizers.make(self.spec, stage, self.model, self.values(stage.epochs))[0]
            )
            for stage in self.spec.stages()
        )

    def described(self) -> list[str]:
        """What trains in each phase, if there are phases. The first one's flags stay set."""
        said = []
        for stage in reversed(self.spec.stages() if self.spec.phases else ()):
            freeze.apply(self.model, stage, self.own, self.backbone)
            epochs = f"{stage.epochs} epoch{'s' * (stage.epochs > 1)}"
            said.append(f"{epochs}, {freeze.described(self.model)}")
        return said[::-1]

    def _demand_updates(self, stage: Stage) -> None:
        batches, given = self.spec.accumulated(), self.steps * stage.epochs
        if given < batches:
            raise UserError(
                f"training.optimizer.{self.spec.optimizer.name}",
                f"gradients of {batches} batches make an update, but {stage.where} has {given}",
                "train for more epochs, or accumulate fewer",
            )
