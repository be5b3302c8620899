"""`kind: onnx`: one file that any ONNX runtime opens.

tf2onnx holds every constant several times over, so the network is traced with its weights as inputs
and these become initializers of the finished graph: VGG16 needs 3.5 GB instead of more than 24.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import onnx
import onnxruntime
import tensorflow as tf
import tf2onnx

from trainer.config.export import Onnx
from trainer.export.material import Material

BATCH = "batch"


def write(material: Material, spec: Onnx, path: Path) -> None:
    """Input `image` [batch, H, W, C], 0 to 255; outputs `probabilities` [batch, K] float32 and
    `label_index` [batch] int64, the most probable. What the file says of itself is its metadata."""
    proto, weights = _traced(material.model, spec)
    _fill(proto.graph, weights)
    _tidy(proto.graph)
    folded = _folded(proto, path)
    for key, value in material.about.written().items():
        folded.metadata_props.add(key=key, value=value)
    onnx.checker.check_model(folded, full_check=True)
    onnx.save(folded, path)


def _traced(model: keras.Model, spec: Onnx) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """The graph with its weights as inputs, and the weights by the names of these inputs."""
    trainable, others = model.trainable_variables, model.non_trainable_variables
    variables = [*trainable, *others]

    @tf.function(autograph=False)
    def forward(image: tf.Tensor, *weights: tf.Tensor) -> dict[str, tf.Tensor]:
        split = len(trainable)
        scores, _ = model.stateless_call(
            weights[:split], weights[split:], tf.cast(image, tf.float32), training=False
        )
        return {
            "probabilities": tf.identity(scores, name="probabilities"),
            "label_index": tf.argmax(scores, axis=1, name="label_index"),
        }

    signature = [
        tf.TensorSpec(model.input_shape, spec.input, name="image"),
        *(tf.TensorSpec(v.shape, v.dtype, name=f"weight_{i}") for i, v in enumerate(variables)),
    ]
    proto, _ = tf2onnx.convert.from_function(forward, signature, opset=spec.opset)
    weights = {f"weight_{i}": v.numpy() for i, v in enumerate(variables)}
    # What a layer keeps as a constant (the mean of Normalization) arrives as a capture.
    for outer, inner in forward.get_concrete_function(*signature).graph.captures:
        weights[inner.op.name] = np.asarray(outer)
    return proto, weights


def _fill(graph: onnx.GraphProto, weights: Mapping[str, np.ndarray]) -> None:
    """Turns the inputs (and undeclared names) that stand for weights into initializers."""
    declared = [value for value in graph.input if value.name.partition(":")[0] not in weights]
    used = {name for node in graph.node for name in node.input}
    del graph.input[:]
    graph.input.extend(declared)
    for name in sorted(used):
        value = weights.get(name.partition(":")[0])
        if value is not None:
            graph.initializer.append(onnx.numpy_helper.from_array(value, name))


def _tidy(graph: onnx.GraphProto) -> None:
    """Probabilities first, and the batch dimension by its name."""
    outputs = sorted(graph.output, key=lambda value: value.name != "probabilities")
    del graph.output[:]
    graph.output.extend(outputs)
    for value in (*graph.input, *graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = BATCH


def _folded(proto: onnx.ModelProto, path: Path) -> onnx.ModelProto:
    """The graph with constants computed and BatchNorm folded; standard operators only."""
    options: Any = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    folded = onnx.load(path)
    used = {node.domain for node in folded.graph.node}
    opsets = [each for each in folded.opset_import if each.domain in used]
    del folded.opset_import[:]  # onnxruntime lists every domain it knows
    folded.opset_import.extend(opsets)
    return folded
