"""Learning rates that change from update to update."""

from typing import Any

import keras


@keras.saving.register_keras_serializable("trainer")
class Warmup(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises linearly: times min(1, (t + 1) / steps) at update t, from 0 on
    (Goyal et al. 2017, arXiv 1706.02677).

    Args:
        rate: a number, or the schedule that is multiplied.
        steps: updates, at least 1.
    """

    def __init__(self, rate: Any, steps: int) -> None:
        super().__init__()
        self.rate, self.steps = rate, steps

    def __call__(self, step: Any) -> Any:
        rate = self.rate(step) if callable(self.rate) else self.rate
        share = (keras.ops.cast(step, "float32") + 1) / self.steps
        return rate * keras.ops.minimum(1.0, share)

    def get_config(self) -> dict[str, Any]:
        """As Keras wants it; a schedule inside is described by itself."""
        return {"rate": keras.saving.serialize_keras_object(self.rate), "steps": self.steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "Warmup":
        """The inverse."""
        rate = keras.saving.deserialize_keras_object(config["rate"])
        return cls(rate, config["steps"])
