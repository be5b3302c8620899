"""Memory of batches is used again, but never while somebody holds a part of it."""

import numpy as np
import tensorflow as tf

from trainer.data.batch import ALIGNED, Buffers, Shapes

SHAPES = Shapes(4, (3, 5, 3), 2)


def address(array: np.ndarray) -> int:
    return array.ctypes.data


def test_memory_that_nobody_holds_is_used_again() -> None:
    buffer = Buffers(SHAPES)
    places = {address(buffer()[0]) for _ in range(9)}
    assert len(places) == 1
    assert all(place % ALIGNED == 0 for place in places)


def test_memory_that_somebody_holds_is_not() -> None:
    buffer = Buffers(SHAPES)
    held = [buffer()[0], buffer()[0][1:2], buffer()[0].reshape(-1), tf.constant(buffer()[0])]
    held.append(tf.data.Dataset.from_tensors(buffer()[0]))
    before = [np.array(each) for each in held[:4]]
    for _ in range(9):
        buffer()[0][:] = 77
    assert all(map(np.array_equal, before, [np.array(each) for each in held[:4]]))
    first = address(held[0])  # type: ignore[arg-type]
    del held
    assert first in {address(array[0]) for array in [buffer() for _ in range(3)]}


def test_tensorflow_takes_it_as_it_is_and_holds_it() -> None:
    buffer = Buffers(SHAPES)
    places = []

    def make(step: np.ndarray) -> np.ndarray:
        images = buffer()[0]
        images[:] = step
        places.append(address(images))
        return images

    dataset = tf.data.Dataset.range(40).map(
        lambda step: tf.numpy_function(make, [step], tf.uint8), num_parallel_calls=3
    )
    tensors = list(dataset.prefetch(4))  # all are held
    assert [int(each.numpy().min()) for each in tensors] == list(range(40))
    assert [int(each.numpy().max()) for each in tensors] == list(range(40))
    assert (
        len({address(np.asarray(memoryview(each))) for each in tensors} & set(places)) > 30
    )  # not copied
