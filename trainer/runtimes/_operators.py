"""What the graph of a SavedModel may do: compute. Looked at before TensorFlow loads anything.

A graph can read, write and delete files, open connections and call Python (if it runs where it was
written). TensorFlow says of its operators neither which do, nor can it load a graph without running
what initialises it: so those that only compute are listed here by their families.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.ops import (
    gen_array_ops,
    gen_bitwise_ops,
    gen_control_flow_ops,
    gen_functional_ops,
    gen_image_ops,
    gen_linalg_ops,
    gen_list_ops,
    gen_manip_ops,
    gen_math_ops,
    gen_nn_ops,
    gen_random_ops,
    gen_resource_variable_ops,
    gen_special_math_ops,
    gen_spectral_ops,
    gen_state_ops,
    gen_stateful_random_ops,
    gen_stateless_random_ops,
    gen_stateless_random_ops_v2,
    gen_string_ops,
)

from trainer.errors import UserError

# The operators of each family by their names, among other names.
_FAMILIES = (
    gen_array_ops,
    gen_bitwise_ops,
    gen_control_flow_ops,
    gen_functional_ops,
    gen_image_ops,
    gen_linalg_ops,
    gen_list_ops,
    gen_manip_ops,
    gen_math_ops,
    gen_nn_ops,
    gen_random_ops,
    gen_resource_variable_ops,
    gen_special_math_ops,
    gen_spectral_ops,
    gen_state_ops,
    gen_stateful_random_ops,
    gen_stateless_random_ops,
    gen_stateless_random_ops_v2,
    gen_string_ops,
)
_ALSO = {"Assert", "DecodeRaw", "DynamicPartition", "DynamicStitch"}
_NOT = {"ImmutableConst", "RemoteCall"}  # maps a file into memory; runs in another process

# Every SavedModel brings functions along that save and restore its variables, for TensorFlow's
# Serving; TensorFlow itself does not call them.
_OF_SAVER = {"MergeV2Checkpoints", "RestoreV2", "SaveV2", "ShardedFilename"}


def demand_harmless(folder: Path) -> None:
    """Raises UserError if the SavedModel could do anything but compute, or is none."""
    where, proto = str(folder), saved_model_pb2.SavedModel()
    try:
        proto.ParseFromString((folder / "saved_model.pb").read_bytes())
    except Exception as error:  # protobuf has a class of its own
        raise UserError(where, f"is no SavedModel: {error}") from None
    # Without objects TensorFlow runs the graph itself, and which of several graphs is a guess.
    if len(proto.meta_graphs) != 1 or not proto.meta_graphs[0].HasField("object_graph_def"):
        raise UserError(
            where,
            "is a SavedModel of TensorFlow 1, or of several graphs",
            "write it anew with trainer export",
        )
    unknown = sorted(_operators(proto.meta_graphs[0]) - _computing())
    if unknown:
        raise UserError(
            where,
            f"its graph has operators that may do more than compute: {', '.join(unknown)}",
            "use it only if you know who wrote it, with TensorFlow itself",
        )


def _computing() -> set[str]:
    return {name for family in _FAMILIES for name in vars(family)} - _NOT | _ALSO


def _operators(graph: Any) -> set[str]:
    """Of the graph and all its functions; those of the saver only where something can run them."""
    library = graph.graph_def.library
    functions = {each.signature.name: each for each in library.function}
    run = {name for each in functions.values() for name in _called(each.node_def)}
    run |= set(graph.object_graph_def.concrete_functions)
    run |= {each.gradient_func for each in library.gradient}
    # The optimizer of graphs may put a function in the place of another that implements the same.
    run |= {name for name, each in functions.items() if "api_implements" in each.attr}
    found = {node.op for node in graph.graph_def.node}
    for name, function in functions.items():
        operators = {node.op for node in function.node_def}
        found |= operators if name in run else operators - _OF_SAVER
    return found


def _called(nodes: Iterable[Any]) -> Iterator[str]:
    for node in nodes:
        yield from _named(node.attr)


def _named(attributes: Mapping[str, Any]) -> Iterator[str]:
    """The functions in the attributes of a node, and in theirs."""
    for value in attributes.values():
        for function in (value.func, *value.list.func):
            yield function.name
            yield from _named(function.attr)
