"""A model file whose probabilities can be computed by hand: the mean of each colour decides."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper

from trainer.config.about import About

SIZE = (8, 10)
COLOURS = ("red", "green", "blue")


def about(**changes: object) -> About:
    values = {"name": "little", "task": "single_label", "labels": COLOURS, "image_size": SIZE}
    return About.model_validate(values | changes)


def write(path: Path, about: About, network_size: tuple[int, int] = SIZE) -> Path:
    """An ONNX file: softmax (for several labels sigmoid) of (mean of a colour - 128) / 64."""
    last = "Sigmoid" if about.task == "multi_label" else "Softmax"
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["mean"], axes=[1, 2], keepdims=0),
        helper.make_node("Sub", ["mean", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["logits"]),
        helper.make_node(last, ["logits"], ["probabilities"]),
    ]
    graph = helper.make_graph(
        nodes,
        "little",
        [helper.make_tensor_value_info("image", TensorProto.UINT8, ["batch", *network_size, 3])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["batch", 3])],
        [
            helper.make_tensor("middle", TensorProto.FLOAT, [], [128.0]),
            helper.make_tensor("scale", TensorProto.FLOAT, [], [64.0]),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for key, value in about.written().items():
        model.metadata_props.add(key=key, value=value)
    onnx.save(model, path)
    return path
