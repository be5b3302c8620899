"""What is known of pictures -> the text of a config that fits them. `trainer init` writes it.

The rules look at number, size, shape and colour, never at what is in the pictures;
docs/starting.md says what they reach.
"""

import math
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from trainer.config import tree

WIDTH = 100  # of a line
SMALL = 64  # pixels; pictures with both sides up to here are taken as they are
SIDE = 128  # pixels; the area of larger pictures becomes its square
FEW, MANY = 2_000, 20_000  # pictures
RARE = 20  # times as many pictures in another class: from here on weights would jump
UNEVEN = 3

# Of two CPU cores, measured: what training such networks comes to in multiplications (forward) per
# second, and what decoding and augmenting a picture costs besides, in seconds.
SPEED, READING, READING_SMALL = 40e9, 0.0005, 0.0001
MINUTES = 7  # that a training should take
EPOCHS = 10, 80  # at least and at most

OPTIMIZER = """\
  optimizer:
    AdamW:
      learning_rate:
        CosineDecay:
          initial_learning_rate: 0.0
          warmup_target: 0.003
          warmup_steps: $steps_per_epoch
          decay_steps: $total_steps
      weight_decay: 0.02"""


class Facts(NamedTuple):
    """What is known of the pictures."""

    name: str  # of the config
    source: Mapping[str, Any]  # `data.source` as written
    classes: tuple[str, ...]
    counts: tuple[int, ...]  # pictures of each class
    pictures: int
    multi_label: bool
    sides: dict[str, int]  # pictures on each side that the source gives; empty if it gives none
    looked_at: int  # pictures from which the rest is known
    height: int  # median, pixels
    width: int
    ratios: tuple[float, float, float]  # width / height: 5 % are below the first, half, 95 %
    grey: bool


class Plan(NamedTuple):
    """What is chosen."""

    image_size: tuple[int, int]  # height, width
    fit: str
    flip: bool
    batch_size: int
    stem: bool  # a first convolution that halves the picture
    blocks: tuple[tuple[int, ...], ...]  # filters of the convolutions between poolings
    dropout: float
    epochs: int
    minutes: float


def draft(facts: Facts, file: str) -> str:
    """The YAML text, with the reasons as comments.

    Args:
        file: the name under which it will lie, for the commands in it.
    """
    plan = planned(facts)
    lines = [*_head(facts, plan, file), *_data(facts, plan), *_model(facts, plan)]
    return "\n".join([*lines, *_training(facts, plan)]) + "\n"


# --- what is chosen -----------------------------------------------------------------------------


def planned(facts: Facts) -> Plan:
    """Size of the pictures, network and length of the training."""
    image_size = _image_size(facts)
    train = trained_on(facts)
    stem = min(image_size) > SMALL
    blocks = _blocks(image_size, stem)
    seconds = cost(image_size, 1 if facts.grey else 3, stem, blocks) / SPEED
    seconds += READING if stem else READING_SMALL
    epochs = max(EPOCHS[0], min(EPOCHS[1], round(MINUTES * 60 / (train * seconds))))
    return Plan(
        image_size=image_size,
        fit="stretch" if _uniform(facts) or _elongation(facts) <= 2 else "pad",
        flip=not _no_flip(facts),
        batch_size=32 if train < FEW else 64 if train < MANY or stem else 128,
        stem=stem,
        blocks=blocks,
        dropout=0.3,
        epochs=epochs,
        minutes=epochs * train * seconds / 60,
    )


def _image_size(facts: Facts) -> tuple[int, int]:
    """As they come where they are small; else of about SIDE × SIDE pixels, in the shape of the
    pictures where that is always the same, square where not; in multiples of 16."""
    h, w = facts.height, facts.width
    side = math.sqrt(h * w)
    if max(h, w) <= SMALL:
        return (h, w) if _uniform(facts) else (round(side), round(side))
    root = math.sqrt(facts.ratios[1]) if _uniform(facts) else 1
    side = min(side, SIDE)
    return 16 * max(1, round(side / root / 16)), 16 * max(1, round(side * root / 16))


def _uniform(facts: Facts) -> bool:
    """Whether (nearly) all pictures have the same shape."""
    return facts.ratios[2] <= 1.1 * facts.ratios[0]


def _elongation(facts: Facts) -> float:
    return max(facts.ratios[2], 1 / facts.ratios[0])


def _no_flip(facts: Facts) -> str:
    """Why a mirrored picture may not be of its class any more; empty if nothing says so."""
    if all(len(name) == 1 or name.isdigit() for name in facts.classes):
        return "the classes could be digits or letters, which a mirror spoils"
    if any(re.search(r"(?i)left|right", name) for name in facts.classes):
        return "left and right are classes, which a mirror swaps"
    if facts.grey and max(facts.height, facts.width) <= SMALL:
        return "small grey pictures could be signs, which a mirror spoils"
    return ""


def trained_on(facts: Facts) -> int:
    """The pictures of the training side, about."""
    given = facts.sides
    share = 1 - 0.15 * ("validation" not in given) - 0.15 * ("test" not in given)
    return max(1, round(share * given.get("train", facts.pictures)))


def _blocks(image_size: tuple[int, int], stem: bool) -> tuple[tuple[int, ...], ...]:
    """Filters double from block to block, until the picture is down to 5 to 10 pixels; at the full
    size, where it is dearest, stands one convolution."""
    side = min(image_size) // (4 if stem else 1)
    count = max(1, round(math.log2(side / 7)) + 1)
    first = 64 if stem else 32
    widths = [min(256, first * 2**number) for number in range(count)]
    return tuple((width,) * (2 if stem or number else 1) for number, width in enumerate(widths))


def cost(
    image_size: tuple[int, int], channels: int, stem: bool, blocks: Sequence[Sequence[int]]
) -> float:
    """Multiplications of the convolutions for one picture."""
    pixels, before, found = math.prod(image_size), channels, 0.0
    if stem:
        found += pixels / 4 * 25 * before * 32
        pixels, before = pixels // 16, 32
    for block in blocks:
        for filters in block:
            found += pixels * 9 * before * filters
            before = filters
        pixels //= 4
    return found


# --- the text -----------------------------------------------------------------------------------


def _head(facts: Facts, plan: Plan, file: str) -> Iterator[str]:
    kind = "with any of" if facts.multi_label else "of"
    yield f"# trainer fit {shown(file)}       {_lasts(plan.minutes)} on 2 CPU cores"
    yield "#"
    yield from _comment(
        f"For {facts.pictures:,} pictures {kind} {len(facts.classes)} classes, {_counted(facts)}. "
        "A small network, trained from scratch."
    )
    if trained_on(facts) < FEW:
        yield from _comment(
            f"{trained_on(facts):,} pictures to learn from are few, which limits what to expect: "
            "more pictures help more than any change here."
        )
    yield tree.line({"name": facts.name})[1:-1]  # quoted where it could be a number
    yield "seed: 1"


def _data(facts: Facts, plan: Plan) -> Iterator[str]:
    height, width = plan.image_size
    yield "data:"
    yield from _source(facts.source)
    yield from _noted(f"  image_size: [{height}, {width}]", f"height, width; {_size_seen(facts)}")
    yield from _noted(f"  fit: {plan.fit}", _fit_reason(facts, plan))
    if facts.grey:
        yield from _noted("  channels: 1", f"all of {facts.looked_at} pictures are grey")
    else:
        yield from _noted("  channels: 3", "1: grey")
    yield from _split(facts)
    yield from _noted(f"  batch_size: {plan.batch_size}", "pictures per step")
    yield from _balance(facts)
    yield from _augment(facts, plan)


def _source(source: Mapping[str, Any]) -> Iterator[str]:
    """One line if that is short, else one per key."""
    whole = f"  source: {tree.line(dict(source))}"
    if len(whole) <= WIDTH:
        yield whole
        return
    yield "  source:"
    for key, value in source.items():
        yield f"    {tree.line({key: value})[1:-1]}"


def _split(facts: Facts) -> Iterator[str]:
    left = [name for name in ("validation", "test") if name not in facts.sides]
    if facts.sides:
        given = ", ".join(f"{count:,} {name}" for name, count in facts.sides.items())
        rest = f"; {' and '.join(left)} split off train" if left else ""
        yield from _comment(f"the source gives the sides: {given}{rest}", "  ")
    smallest = min(count for count in facts.counts if count)
    shares: dict[str, float] = dict.fromkeys(left, 0.15)
    if smallest < len(left) + 1 and not facts.multi_label and "test" in shares:
        shares["test"] = 0
        yield from _comment(f"no test side: the smallest class has {smallest} pictures", "  ")
    if shares:
        inside = ", ".join(f"{name}: {share}" for name, share in shares.items())
        yield from _noted(f"  split: {{{inside}}}", "shares of each class")


def _balance(facts: Facts) -> Iterator[str]:
    """What evens out classes of which some are much larger."""
    counts = [count for count in facts.counts if count]
    if max(counts) < UNEVEN * min(counts):
        return
    seen = f"classes have {min(counts):,} to {max(counts):,} pictures"
    if facts.multi_label or max(counts) >= RARE * min(counts):
        yield from _noted("  sampling: balanced", f"{seen}: each is drawn equally often")
    else:
        yield from _noted("  class_weights: balanced", f"{seen}: each counts the same in all")


def _augment(facts: Facts, plan: Plan) -> Iterator[str]:
    yield "  augment:  # in training only; trainer data preview draws it"
    small = max(facts.height, facts.width) <= SMALL
    if plan.flip:
        yield from _noted("    - HorizontalFlip", "if a mirrored picture keeps its class")
    else:
        yield from _comment(
            f"no HorizontalFlip: {_no_flip(facts)}. Add it where a mirrored picture keeps its "
            "class.",
            "    ",
        )
    turn, zoom, shift = (10, 0.1, 0.08) if small else (15, 0.2, 0.1)
    yield "    - Affine:"
    yield f"        rotate: [-{turn}, {turn}]  # degrees"
    yield f"        scale: [{1 - zoom}, {1 + zoom}]"
    yield f"        translate_percent: [-{shift}, {shift}]  # shares of the side"
    yield (
        "        border_mode: 1  # edges repeat"
        if small
        else "        border_mode: 4  # edges mirror"
    )
    yield "        p: 0.8"
    if not (small and facts.grey):
        yield "    - RandomBrightnessContrast"
    if not facts.grey:
        yield "    - HueSaturationValue: {hue_shift_limit: 8, val_shift_limit: 10}"


def _model(facts: Facts, plan: Plan) -> Iterator[str]:
    yield "model:"
    yield "  kind: layers"
    yield "  layers:"
    yield "    - Rescaling: {scale: 0.00392156862745098}  # 1/255"
    if plan.stem:
        yield from _convolution(32, "kernel_size: 5, strides: 2")
        yield "    - MaxPooling2D"
    for number, block in enumerate(plan.blocks):
        if number:
            yield "    - MaxPooling2D"
        for filters in block:
            yield from _convolution(filters, "kernel_size: 3")
    yield "    - GlobalAveragePooling2D"
    yield f"    - Dropout: {{rate: {plan.dropout}}}"
    if facts.multi_label:
        yield "    - Dense: {units: $classes, activation: sigmoid}  # several may hold"
    else:
        yield "    - Dense: {units: $classes, activation: softmax}"


def _convolution(filters: int, shape: str) -> Iterator[str]:
    yield f"    - Conv2D: {{filters: {filters}, {shape}, padding: same, use_bias: false}}"
    yield "    - BatchNormalization: {momentum: 0.9, synchronized: true}"
    yield "    - ReLU"


def _training(facts: Facts, plan: Plan) -> Iterator[str]:
    yield "training:"
    yield from _noted(f"  epochs: {plan.epochs}", _lasts(plan.minutes))
    yield from OPTIMIZER.splitlines()
    if facts.multi_label:
        yield "  loss: BinaryCrossentropy"
        yield "  metrics: [BinaryAccuracy, {AUC: {multi_label: true, name: auc}}]"
        # On 700 pictures the last epoch had F1 0.77, that of the least val_loss 0.69.
        yield "  best: {monitor: val_auc}  # val_loss gets worse before the answers do"
    else:
        yield "  loss: {CategoricalCrossentropy: {label_smoothing: 0.1}}"
        yield "  metrics: [CategoricalAccuracy]"


# --- words --------------------------------------------------------------------------------------


def shown(text: str) -> str:
    """Text that cannot end a comment or garble a terminal."""
    return "".join(each if each.isprintable() else "?" for each in text)


def _lasts(minutes: float) -> str:
    if minutes >= 90:
        return f"about {round(minutes / 60)} hours"
    return f"about {max(1, round(minutes))} min"


def _counted(facts: Facts) -> str:
    """`100 of each`, or the largest and the smallest class."""
    if len(set(facts.counts)) == 1:
        return f"{facts.counts[0]:,} of each"
    order = sorted(range(len(facts.counts)), key=lambda number: facts.counts[number])
    few, many = (f"{facts.counts[i]:,} of {shown(facts.classes[i])}" for i in (order[0], order[-1]))
    return f"from {few} to {many}"


def _size_seen(facts: Facts) -> str:
    looked = f"{facts.looked_at} pictures looked at have {facts.height} x {facts.width}"
    return looked if _uniform(facts) else f"{looked} in the median"


def _fit_reason(facts: Facts, plan: Plan) -> str:
    if _uniform(facts):
        return "all have the same shape; crop or pad where one has another"
    narrow, _, wide = facts.ratios
    return f"width / height is {narrow:.2f} to {wide:.2f}" + (
        "; crop or pad keep it" if plan.fit == "stretch" else ": stretching would distort much"
    )


def _noted(line: str, comment: str) -> Iterator[str]:
    """The line with the comment behind it, or below a comment where that is too long."""
    if len(line) + len(comment) + 4 <= WIDTH:
        yield f"{line}  # {comment}"
        return
    yield from _comment(comment, line[: len(line) - len(line.lstrip())])
    yield line


def _comment(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
