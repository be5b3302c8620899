"""Logits taken back from probabilities: one formula for figures and for networks."""

from typing import Any

LEAST = 2.0**-126  # for a probability of 0: no processor takes this float32 for 0
NEXT_TO_1 = 2.0**-25  # what a probability may lack that is 1 in float32


def logits(scores_NK: Any, multi_label: bool, ops: Any) -> Any:
    """Of probabilities [N, K], N examples and K classes, up to a constant per example.

    Args:
        ops: numpy or keras.ops, whichever the scores are of.
    """
    logs_NK = ops.log(ops.clip(scores_NK, LEAST, 1))
    if not multi_label:
        return logs_NK
    return logs_NK - ops.log(ops.maximum(1 - scores_NK, NEXT_TO_1))
