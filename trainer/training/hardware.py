"""Seeds, precision and strategy: the only place that sets them."""

import logging
import os

import keras
import tensorflow as tf

from trainer.config.training import Training
from trainer.errors import UserError
from trainer.training import cluster as clusters
from trainer.training import devices
from trainer.training.cluster import Cluster
from trainer.training.peers import Peers


def prepare(spec: Training, seed: int, cluster: Cluster | None = None) -> tf.distribute.Strategy:
    """Seeds every generator, sets the precision, and gives the strategy to build and train under.

    `auto` mirrors over the workers of the cluster if there is one, else over the GPUs when there
    are several; otherwise one device works plainly.

    Raises: Lost if workers of the cluster do not appear.
    """
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of what we do on purpose
    for gpu in tf.config.list_physical_devices("GPU"):
        tf.config.experimental.set_memory_growth(gpu, True)  # others use this machine too
    tf.config.optimizer.set_experimental_options({"arithmetic_optimization": False})  # see loop.py
    keras.utils.clear_session()  # else the second AUC of a process would be called auc_1
    keras.utils.set_random_seed(seed)
    keras.config.set_dtype_policy(spec.precision)
    if cluster:
        return _multi_worker(cluster, spec.worker_timeout)
    several = len(tf.config.list_logical_devices("GPU")) > 1
    if spec.strategy == "mirrored" or (spec.strategy == "auto" and several):
        return tf.distribute.MirroredStrategy()
    return tf.distribute.get_strategy()


def _multi_worker(cluster: Cluster, seconds: float) -> tf.distribute.Strategy:
    """All GPUs of all workers, or their CPUs. TensorFlow waits for the workers in silence and for
    ever, so that they have met before."""
    clusters.meet(cluster, seconds)
    os.environ[clusters.CONFIG] = clusters.config(cluster.workers, cluster.worker)
    ways = tf.distribute.experimental.CommunicationImplementation
    way = ways.NCCL if tf.config.list_physical_devices("GPU") else ways.RING
    options = tf.distribute.experimental.CommunicationOptions(implementation=way)
    return tf.distribute.MultiWorkerMirroredStrategy(communication_options=options)


def compiles(spec: Training, model: keras.Model, strategy: tf.distribute.Strategy) -> bool:
    """Whether XLA compiles the step. `auto`: on a single GPU, where every layer can be; on CPUs
    steps took 2 to 3 times as long with it.

    Raises: UserError if it is asked for on several replicas, where TensorFlow fails.
    """
    replicas = strategy.num_replicas_in_sync
    if spec.jit_compile is True and replicas > 1:
        problem = f"XLA cannot compile a step of {replicas} replicas"
        hint = "write auto or false, or training.strategy: single"
        raise UserError("training.jit_compile", problem, hint)
    if spec.jit_compile == "auto":
        gpu = bool(tf.config.list_logical_devices("GPU"))
        supported = all(layer.supports_jit for layer in model._flatten_layers())
        return gpu and replicas == 1 and supported
    return spec.jit_compile


def full_precision() -> None:
    """What is built from now on computes in float32, whatever the training did."""
    keras.config.set_dtype_policy("float32")


def described(strategy: tf.distribute.Strategy, spec: Training) -> str:
    """One line for the user: what the run works on, and why."""
    workers = Peers.of(strategy).workers
    return devices.described(visible(), strategy.num_replicas_in_sync, spec, workers)


def visible() -> list[devices.Device]:
    """The GPUs that TensorFlow may use; without one the CPU, as often as it was divided.

    Looking at GPUs takes none of their memory.
    """
    details = tf.config.experimental.get_device_details
    gpus = [devices.device("GPU", details(gpu)) for gpu in tf.config.get_visible_devices("GPU")]
    # Of several workers each sees the CPUs of all: /job:worker/replica:0/task:1/device:CPU:0.
    names = {each.name.rpartition("/")[2] for each in tf.config.list_logical_devices("CPU")}
    return gpus or [devices.Device("CPU")] * len(names)


def restrict(kind: str, count: int) -> None:
    """Leaves so many GPUs to be seen; or none, and divides the CPU into so many logical devices.

    Only before TensorFlow has used a device: it is for a process of its own.
    """
    gpus = tf.config.list_physical_devices("GPU")
    tf.config.set_visible_devices(gpus[:count] if kind == "GPU" else [], "GPU")
    if kind == "CPU":
        [cpu] = tf.config.list_physical_devices("CPU")
        parts = [tf.config.LogicalDeviceConfiguration()] * count
        tf.config.set_logical_device_configuration(cpu, parts)


def demand_full_replicas(strategy: tf.distribute.Strategy, batch_size: int) -> None:
    """Raises UserError if a replica would get no picture: TensorFlow's kernels fail or give NaN."""
    replicas = strategy.num_replicas_in_sync
    if batch_size < replicas:
        raise UserError(
            "data.batch_size",
            f"{batch_size} pictures per step cannot feed {replicas} replicas",
            f"write at least {replicas}, or training.strategy: single",
        )
