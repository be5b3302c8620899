"""The training loop: one path for one device, for MirroredStrategy, and for several machines.

The loss of a step is the sum over all replicas of loss times weight, divided by the sum over all
replicas of the weights. So any number of replicas, evenly filled or not, computes the same step,
and rows of weight 0 count for nothing. `keras.Model.fit` divides per replica instead. Only what
looks at the rows of its replica by itself is no part of this: BatchNormalization without
`synchronized: true`, and activity regularizers.

N batch of one replica, H, W, C image, K classes.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from trainer.errors import UserError
from trainer.training import replicas
from trainer.training.objective import Objective
from trainer.training.peers import Peers
from trainer.training.variables import count_of

Logs = dict[str, Any]
Step = Callable[[Any], Logs]

# Logs of an epoch that no two runs have in common: pictures per second, the share of the time that
# was spent waiting for them, and what is left of it per step, in milliseconds.
TIMING = ("images_per_second", "input_wait", "step_ms")


class Batches(NamedTuple):
    """A stream that one training after another reads on from."""

    following: Iterator[Any]  # global batches, distributed
    size: int  # of each


class Eyes(NamedTuple):
    """Who sees what no callback does: pictures and scores, in the order of the examples."""

    # The first batch of an epoch, or of what is left of it: images uint8 [N, H, W, C], labels
    # [N, K] of the first replica.
    began: Callable[[np.ndarray, np.ndarray], None]
    # Of a whole validation, on all workers: probabilities float32 [N, K], weights [N]; 0 marks what
    # fills batches or could not be read. The averaged weights are in place.
    validated: Callable[[np.ndarray, np.ndarray], None]


def opened(
    training: tf.data.Dataset, strategy: tf.distribute.Strategy, size: int | None = None
) -> Batches:
    """The stream of a dataset of global batches, or of this worker's rows of them.

    Args:
        size: of a global batch; nothing: of those of the dataset.
    """
    following = iter(replicas.distributed(training, strategy))
    return Batches(following, size or training.element_spec[2].shape[0])


def train(
    model: keras.Model,
    objective: Objective,
    strategy: tf.distribute.Strategy,
    training: tf.data.Dataset | Batches,
    validation: tf.data.Dataset,
    *,
    epochs: int,
    steps: int,
    callbacks: Iterable[keras.callbacks.Callback] = (),
    eyes: Eyes | None = None,
    first_epoch: int = 0,
    first_step: int = 0,
) -> dict[str, list[float]]:
    """Trains for epochs of so many steps, validating after each; returns the history.

    Args:
        model: built under the strategy's scope, compiled by `objective.build`.
        training: endless global batches of (images uint8 [.., H, W, C], labels [.., K], weights);
            it starts with the batch of `first_step`. Or such a dataset, opened before.
        validation: finite, of the same form.
        callbacks: Keras's own or the user's. Epoch logs hold the metrics, `val_` ones too,
            `learning_rate`, `gradient_norm` and TIMING. From validation to the end of the epoch the
            network holds the averaged weights, if there are any, so that what is kept is what was
            validated.
        eyes: are told before the callbacks of the epoch's end.
        first_epoch, first_step: where a training goes on that was stopped; the metrics then hold
            the sums of the steps before once `on_epoch_begin` has been called.
    """
    step = train_step(model, objective, strategy)
    batches = training if isinstance(training, Batches) else opened(training, strategy)
    read = replicas.reader(objective.running, strategy)
    validate = _validation(model, objective, strategy, validation, eyes)
    model.stop_training = False
    model.train_function = step  # keras.callbacks.TensorBoard draws its graph
    listeners = keras.callbacks.CallbackList(
        list(callbacks), add_history=True, model=model, epochs=epochs, steps=steps, verbose=0
    )
    listeners.on_train_begin()
    _take_out(objective)  # a callback may have loaded a checkpoint that was written in validation
    for epoch in range(first_epoch, epochs):
        _reset(objective)
        listeners.on_epoch_begin(epoch)
        _take_out(objective)
        logs = _epoch(step, batches, range(first_step, steps), read, listeners, eyes)
        first_step = 0
        if objective.average:
            objective.average.put_in()
        logs |= {f"val_{name}": value for name, value in validate(listeners).items()}
        rate = keras.ops.convert_to_numpy(objective.optimizer.learning_rate)
        logs["learning_rate"] = float(rate)
        listeners.on_epoch_end(epoch, logs)
        _take_out(objective)
        if model.stop_training:
            break
    listeners.on_train_end()
    return model.history.history


def _take_out(objective: Objective) -> None:
    if objective.average:
        objective.average.take_out()


def _epoch(
    step: Step,
    batches: Batches,
    numbers: range,
    read: replicas.Read,
    listeners: keras.callbacks.CallbackList,
    eyes: Eyes | None,
) -> Logs:
    """The steps of these numbers. The clock starts after the first one, which may be traced."""
    start, waited, timed = time.perf_counter(), 0.0, 0
    if numbers.start and listeners.model.stop_training:  # before the resume
        numbers = range(0)
    for number in numbers:
        listeners.on_train_batch_begin(number)
        asked = time.perf_counter()
        batch = next(batches.following)
        waited += time.perf_counter() - asked
        if eyes and number == numbers.start:
            eyes.began(*(replicas.held(part, parts=1) for part in batch[:2]))
        logs = step(batch)
        listeners.on_train_batch_end(number, logs)
        if listeners.model.stop_training:
            break
        if number == numbers.start and len(numbers) > 1:
            start, waited = time.perf_counter(), 0.0
        else:
            timed += 1
    seconds = time.perf_counter() - start
    return read() | {
        "images_per_second": timed * batches.size / seconds,
        "input_wait": waited / seconds,
        "step_ms": 1000 * (seconds - waited) / max(timed, 1),
    }


def _validation(
    model: keras.Model,
    objective: Objective,
    strategy: tf.distribute.Strategy,
    batches: tf.data.Dataset,
    eyes: Eyes | None,
) -> Callable[[keras.callbacks.CallbackList], Logs]:
    """What goes over all of these batches, and gives what the metrics find."""
    test = _test_step(model, objective, strategy)
    read = replicas.reader(objective.metrics, strategy)
    distributed, peers = replicas.distributed(batches, strategy), Peers.of(strategy)

    def validate(listeners: keras.callbacks.CallbackList) -> Logs:
        _reset(objective)
        scores, weights = [], []
        listeners.on_test_begin()
        for number, batch in enumerate(distributed):
            listeners.on_test_batch_begin(number)
            found = test(batch)
            scores += [replicas.held(found)] if eyes else []
            weights.append(replicas.held(batch[2]))
            listeners.on_test_batch_end(number)
        weights_N = peers.rows(np.concatenate(weights), len(weights))
        if not weights_N.any():
            raise UserError("data.source", "not one validation picture can be read")
        results = read()
        listeners.on_test_end(results)
        if eyes:
            eyes.validated(peers.rows(np.concatenate(scores), len(scores)), weights_N)
        return results

    return validate


def train_step(model: keras.Model, objective: Objective, strategy: tf.distribute.Strategy) -> Step:
    """A batch of all replicas -> the metrics so far, once the weights are better.

    With gradient accumulation the weights are better after every so many batches; which of two
    graphs a batch takes is chosen here, since one with a condition in it fails under a strategy.
    """
    update = _compiled(_updating(model, objective, strategy), objective)
    sums = objective.accumulator
    if sums is None:
        return update
    forward = _forward(model, objective, strategy)
    read = replicas.reader(objective.metrics, strategy)

    def on_replica(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> None:
        sums.add(*forward(images, labels, weights))

    def accumulating(batch: Any) -> Logs:
        strategy.run(on_replica, args=batch)
        return read()

    accumulate, done = _compiled(accumulating, objective), -1

    def step(batch: Any) -> Logs:
        nonlocal done
        if done < 0:  # only now: a checkpoint may have been loaded meanwhile
            done = count_of(sums.done)
        done = (done + 1) % sums.batches
        return accumulate(batch) if done else update(batch)

    return step


def _compiled(step: Callable[[Any], Any], objective: Objective) -> Any:
    return tf.function(step, reduce_retracing=True, jit_compile=objective.jit_compile or None)


def _updating(model: keras.Model, objective: Objective, strategy: tf.distribute.Strategy) -> Step:
    """The step after which the weights are better."""
    forward = _forward(model, objective, strategy)
    read = replicas.reader(objective.metrics, strategy)
    optimizer, variables = objective.optimizer, model.trainable_variables

    def on_replica(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> None:
        gradients, everyone = forward(images, labels, weights)
        if objective.accumulator:
            gradients = objective.accumulator.mean(gradients, everyone)
        before = tf.identity(optimizer.iterations)
        gradients = _summed(gradients)
        _measure(objective, gradients)
        optimizer.apply(gradients, variables)
        if objective.average:  # an overflow in float16 is no update
            objective.average.follow(optimizer.iterations > before)

    def step(batch: Any) -> Logs:
        strategy.run(on_replica, args=batch)
        return read()

    return step


def _forward(
    model: keras.Model, objective: Objective, strategy: tf.distribute.Strategy
) -> Callable[..., tuple[list[tf.Tensor | None], tf.Tensor]]:
    """A replica's batch -> its part of the gradients of the mean loss, and the weight of all
    pictures of the step; the metrics have seen it."""
    variables = model.trainable_variables

    def forward(
        images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor
    ) -> tuple[list[tf.Tensor | None], tf.Tensor]:
        everyone = tf.distribute.get_replica_context().all_reduce("SUM", tf.reduce_sum(weights))
        scores = tf.cast(model(tf.cast(images, tf.float32), training=True), tf.float32)
        losses_N = objective.loss(labels, scores)
        penalty = tf.add_n(model.losses) if model.losses else tf.constant(0.0)
        mean = tf.math.divide_no_nan(tf.reduce_sum(losses_N * weights), everyone)
        # The gradients of all replicas are summed: each adds its part of the penalty.
        loss = mean + penalty / strategy.num_replicas_in_sync
        gradients = _gradients(objective.optimizer.scale_loss(loss), variables)
        _update(objective, losses_N + penalty, labels, scores, weights)
        return gradients, everyone

    return forward


def _summed(gradients: list[tf.Tensor | None]) -> list[tf.Tensor | None]:
    """Over all replicas, where there are any."""
    there = [each for each in gradients if each is not None]
    summed = iter(tf.distribute.get_replica_context().all_reduce("SUM", there))
    return [each if each is None else next(summed) for each in gradients]


def _measure(objective: Objective, gradients: list[tf.Tensor | None]) -> None:
    """Notes the norm of the whole gradient, before any clipping; that of a step that overflowed in
    float16, which is no update, does not count."""
    share = 1 / objective.optimizer.scale_loss(tf.constant(1.0))  # first: squares would overflow
    there = [tf.cast(each, tf.float32) * share for each in gradients if each is not None]
    norm = tf.sqrt(tf.reduce_sum(tf.stack([tf.reduce_sum(tf.square(each)) for each in there])))
    # All replicas note the same: an epoch that goes on with more or fewer counts each step once.
    weight = tf.constant(1 / tf.distribute.get_replica_context().num_replicas_in_sync)
    if isinstance(objective.optimizer, keras.optimizers.LossScaleOptimizer):
        counts = tf.math.is_finite(norm)
        norm, weight = tf.where(counts, norm, 0.0), weight * tf.cast(counts, tf.float32)
    objective.gradient_norm.update_state(norm, sample_weight=weight)


def _gradients(loss: tf.Tensor, variables: list[keras.Variable]) -> list[tf.Tensor | None]:
    """Gradients whose parts are added in pairs, so that a run repeats to the bit.

    Where three or more meet, as at the input of BatchNormalization, GradientTape leaves them to one
    AddN, and that adds first whatever buffer happens to be free: other roundings in every run.
    `hardware.prepare` keeps the graph optimizer from merging the pairs again.
    """
    places = [variable.value for variable in variables]
    tree = tf.AggregationMethod.EXPERIMENTAL_TREE
    gradients = tf.gradients(loss, places, aggregation_method=tree)
    return [_on_device_of(*pair) for pair in zip(places, gradients, strict=True)]


def _on_device_of(variable: tf.Variable, gradient: tf.Tensor | None) -> tf.Tensor | None:
    """MirroredStrategy over a single device asks each gradient for the device it is on.

    Dense: that of an embedding may have several rows for one of the variable's, more so on several
    replicas, and whoever squares them before they are summed, as clipping and Adam do, is wrong.
    """
    with tf.device(variable.device):
        return gradient if gradient is None else tf.identity(tf.convert_to_tensor(gradient))


def _test_step(
    model: keras.Model, objective: Objective, strategy: tf.distribute.Strategy
) -> Callable[[Any], Any]:
    """A batch of all replicas -> probabilities [N, K] of each, once the metrics have seen it."""

    def on_replica(images: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        scores = tf.cast(model(tf.cast(images, tf.float32), training=False), tf.float32)
        penalty = tf.add_n(model.losses) if model.losses else tf.constant(0.0)
        _update(objective, objective.loss(labels, scores) + penalty, labels, scores, weights)
        return objective.probabilities(scores)

    def step(batch: Any) -> Any:
        return strategy.run(on_replica, args=batch)

    return _compiled(step, objective)


def _update(
    objective: Objective,
    losses_N: tf.Tensor,
    labels_NK: tf.Tensor,
    scores_NK: tf.Tensor,
    weights_N: tf.Tensor,
) -> None:
    mean, *metrics = objective.metrics
    mean.update_state(losses_N, sample_weight=weights_N)
    probabilities_NK = objective.probabilities(scores_NK)
    counted_N = tf.sign(weights_N)  # class weights are for the loss; a metric counts pictures
    whole_NK = tf.cast(labels_NK >= 0.5, labels_NK.dtype)  # of mixed pictures the larger share
    for metric in metrics:
        metric.update_state(whole_NK, probabilities_NK, sample_weight=counted_N)


def _reset(objective: Objective) -> None:
    for metric in objective.running:
        metric.reset_state()
