"""The checks of `data inspect`: each looks at one thing and says what it means and what to do."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import numpy as np

from trainer.data.examples import SIDES
from trainer.data.inspect.look import (
    LEFT_OUT,
    Finding,
    Look,
    conflicts,
    finding,
    flat,
    same_labels,
    some,
)
from trainer.data.inspect.survey import PIXELS
from trainer.errors import UserError

PROBLEM, WARNING, NOTE = SEVERITIES = ("problem", "warning", "note")

IMBALANCE = 3  # largest class / smallest class
FEW = 20  # pictures of a class
TINY = 32  # pixels; of arrays it is the usual size
SHAPE = 1.5  # times another aspect ratio than the network's
SEQUENCE = 10  # pictures of one group

# Pillow's names of formats -> suffixes that files of the format have.
SUFFIXES = {
    "AVIF": (".avif",),
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "HEIF": (".heic", ".heif"),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "JPEG2000": (".jp2", ".j2k", ".jpx"),
    "MPO": (".mpo", ".jpg", ".jpeg"),
    "PNG": (".png", ".apng"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
KNOWN = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)


def _until_then(look: Look) -> str:
    """What the quarantine list does about it."""
    if look.spec.quarantine == "none":
        return "With quarantine: none fit uses all of it."
    return "Until then fit leaves all of it out, by the quarantine list."


def stopped(errors: Sequence[UserError]) -> Iterator[Finding]:
    """What keeps `fit` from splitting the pictures."""
    for error in errors:
        yield finding(
            None, "stopped", PROBLEM, "the pictures cannot be split",
            f"fit would stop: {error.problem}.", f"{error.hint or 'change the data'}.".capitalize(),
        )  # fmt: skip


def _unreadable(look: Look) -> Iterator[Finding]:
    reasons = dict(sorted(look.reasons.items()))
    if reasons:
        yield finding(
            look, "unreadable", PROBLEM,
            some(len(reasons), "picture cannot be read", "pictures cannot be read"),
            "Training and evaluation go on without what cannot be read.",
            "Replace these files, or remove them from the source.",
            reasons,
        )  # fmt: skip


def _conflicting(look: Look) -> Iterator[Finding]:
    found = conflicts(look.examples, look.pairs, look.copied_N)
    if found:
        yield finding(
            look, "conflicting_labels", PROBLEM,
            some(len(found), "picture is there twice or more, with different labels",
                 "pictures are there twice or more, with different labels"),
            "At most one of the labels is right. No network can learn both, and a test picture "
            "among them says nothing.",
            f"Keep the copy with the right label and delete the others. {_until_then(look)}",
            grouped=found,
        )  # fmt: skip


def _leaks(look: Look) -> Iterator[Finding]:
    """Duplicates that are on two sides after the split, or were before it left some out."""
    one, other = look.side_N[look.pairs.first], look.side_N[look.pairs.second]
    across = (one != other) & (one >= 0) & (other >= 0)
    if across.any():
        leaking = np.unique(look.pairs.first[across])
        grouped = [each for each in look.groups if np.isin(leaking, each).any()]
        evaluated = np.unique(np.concatenate([
            look.pairs.first[across & (one > other)], look.pairs.second[across & (other > one)],
        ]))  # fmt: skip
        yield finding(
            look, "leak", PROBLEM,
            some(len(evaluated), "validation or test picture has a duplicate on another side",
                 "validation or test pictures have a duplicate on another side"),
            "The network is judged on pictures it has seen, so its score will be too good.",
            "Write split: {duplicates: together} under data, which is the default.",
            grouped=grouped,
        )  # fmt: skip
    yield from _apart(look)


def _apart(look: Look) -> Iterator[Finding]:
    """Pictures that the split leaves out because a duplicate is on another side."""
    if look.spec.split.duplicates == "ignore":
        return
    order = np.argsort(look.side_N, kind="stable")
    best_N = np.empty(len(order), np.int64)
    best_N[look.copied_N[order]] = order  # of equal pictures the one on the greatest side
    equal = np.flatnonzero(look.copied_N != np.arange(len(order)))
    first = np.concatenate([look.pairs.first, look.pairs.second, equal])
    second = np.concatenate([look.pairs.second, look.pairs.first, best_N[look.copied_N[equal]]])
    out = (look.side_N[first] == LEFT_OUT) & (look.side_N[second] >= 0)
    given = look.examples.sides
    because = {}
    for index, other in zip(first[out].tolist(), second[out].tolist(), strict=True):
        if given is None or given[index] != look.side_N[other]:
            side = SIDES[look.side_N[other]]
            because[index] = f"like {look.examples.pictures.name(other)} in {side}"
    if because:
        yield finding(
            look, "kept_apart", WARNING,
            some(len(because), "picture is left out, because a duplicate is on another side",
                 "pictures are left out, because a duplicate is on another side"),
            "Had they stayed, the network would be judged on pictures it has seen.",
            "There is nothing to do. To keep them, remove their duplicates from the other side.",
            dict(sorted(because.items())),
        )  # fmt: skip


def _gaps(look: Look) -> Iterator[Finding]:
    counts = {
        side: look.examples.take(np.flatnonzero(look.side_N == number)).counts()
        for number, side in enumerate(SIDES)
    }
    for index, name in enumerate(look.examples.classes):
        empty = [side for side, count in counts.items() if count.any() and not count[index]]
        if empty:
            sides = " and ".join(empty)
            yield finding(
                None, "gap", WARNING, f"no {sides} picture of class '{name}'",
                f"Its {sides} figures will say nothing.",
                "Add pictures of the class, or of that side.",
            )  # fmt: skip


def _imbalance(look: Look) -> Iterator[Finding]:
    counts = look.examples.take(look.usable).counts()
    names, present = look.examples.classes, counts[counts > 0]
    if len(present) < 2 or present.max() <= IMBALANCE * present.min():
        return
    least, most = int(np.where(counts > 0, counts, np.inf).argmin()), int(counts.argmax())
    spec, ratio = look.spec, counts[most] / counts[least]
    if spec.sampling == "balanced":
        severity, advice = (
            NOTE,
            "There is nothing to do: sampling: balanced shows all equally often.",
        )
    elif spec.class_weights is not None:
        severity, advice = NOTE, "There is nothing to do: class_weights counters it."
    elif look.examples.multi_label:
        severity, advice = (
            WARNING,
            "Write sampling: balanced under data, and read the F1 per class.",
        )
    else:
        severity = WARNING
        advice = (
            "Write class_weights: balanced or sampling: balanced under data, and read the F1 "
            "per class rather than the accuracy."
        )
    yield finding(
        None, "imbalance", severity,
        f"'{names[most]}' has {ratio:.1f} times the pictures of '{names[least]}': "
        f"{counts[most]:,} and {counts[least]:,}",
        "A network can score well by favouring the large classes.", advice,
    )  # fmt: skip


def _few(look: Look) -> Iterator[Finding]:
    counts = look.examples.take(look.usable).counts()
    small = [int(index) for index in np.argsort(counts, kind="stable") if counts[index] < FEW]
    if small:
        listed = ", ".join(f"{look.examples.classes[i]} {counts[i]}" for i in small[:5])
        rest = f" and {len(small) - 5} more" if len(small) > 5 else ""
        found = finding(
            None, "few_pictures", WARNING,
            some(len(small), "class has", "classes have") + f" fewer than {FEW} pictures: "
            f"{listed}{rest}",
            "That is too few to learn a class, and too few to measure it.",
            "Collect more pictures of it, or join it with another class.",
        )  # fmt: skip
        names = look.examples.classes
        yield found | {"classes": {names[index]: int(counts[index]) for index in small}}


def _mixed(look: Look) -> list[np.ndarray]:
    """The groups in which near duplicates have different labels."""
    near = ~look.pairs.exact
    first, second = look.pairs.first[near], look.pairs.second[near]
    different = first[~same_labels(look.examples, first, second)]
    return [each for each in look.groups if np.isin(different, each).any()]


def _other_labels(look: Look) -> Iterator[Finding]:
    mixed = _mixed(look)
    if mixed:
        yield finding(
            look, "alike_with_other_labels", WARNING,
            some(len(mixed), "group", "groups") + " of near duplicates with different labels",
            "Either a label is wrong, or the difference is too fine to show in a small picture.",
            "Look at them and correct the labels that are wrong.",
            grouped=mixed,
        )  # fmt: skip


def _misnamed(look: Look) -> Iterator[Finding]:
    wrong = {}
    for index in look.readable[np.isin(look.records["format"][look.readable], list(SUFFIXES))]:
        kind = str(look.records["format"][index])
        suffix = PurePosixPath(look.examples.pictures.name(int(index))).suffix.lower()
        if suffix in KNOWN and suffix not in SUFFIXES[kind]:
            wrong[int(index)] = f"is {kind}"
    if wrong:
        yield finding(
            look, "wrong_suffix", WARNING,
            some(len(wrong), "file is of another format than its name says",
                 "files are of another format than their names say"),
            "The content decides here, so all are read; other programs may fail on them.",
            "Rename such files, if other programs read them too.",
            wrong,
        )  # fmt: skip


def _constant(look: Look) -> Iterator[Finding]:
    found = flat(look.records)
    if len(found):
        yield finding(
            look, "one_colour", WARNING,
            some(len(found), "picture shows", "pictures show") + " one colour only",
            "There is nothing to learn from: often a placeholder, or a broken export.",
            f"Remove such pictures. {_until_then(look)}",
            found,
        )  # fmt: skip


def _small(look: Look) -> Iterator[Finding]:
    records = look.records[look.readable]
    height, width = look.spec.image_size
    h, w = records["height"], records["width"]
    small = (2 * h < height) & (2 * w < width)
    small |= (np.minimum(h, w) < TINY) & (records["format"] != PIXELS)
    if not small.any():
        return
    advice = "Remove them if they are thumbnails or icons; else leave them."
    if small.mean() > 0.5:
        advice = (
            f"Most pictures are like that: image_size: [{int(np.median(h))}, {int(np.median(w))}] "
            "loses nothing and trains faster."
        )
    yield finding(
        look, "small", WARNING,
        some(int(small.sum()), "picture is", "pictures are")
        + f" small: less than half of {height} × {width} in both sides, or below {TINY} pixels",
        "Enlarged to the network's size they are blurred, unlike the others.",
        advice,
        look.readable[small],
    )  # fmt: skip


def _shape(look: Look) -> Iterator[Finding]:
    records = look.records[look.readable]
    if not len(records):
        return
    height, width = look.spec.image_size
    aspect = records["width"] / records["height"]
    far = np.abs(np.log(aspect * height / width)) > np.log(SHAPE)
    if far.mean() <= 0.5:
        return
    meanings = {
        "stretch": ("fit: stretch squeezes them.", "Try fit: crop or fit: pad"),
        "crop": ("fit: crop cuts off a third of them, or more.", "Try fit: pad"),
        "pad": ("fit: pad fills a third of the image with black, or more.", "Try fit: crop"),
    }
    meaning, advice = meanings[look.spec.fit]
    middle = float(np.median(aspect))
    if middle > 1:
        size = [max(1, round(width / middle)), width]
    else:
        size = [height, max(1, round(height * middle))]
    yield finding(
        None, "other_shape", WARNING,
        some(int(far.sum()), "picture has", "pictures have")
        + f" another shape than {height} × {width}, by more than a half",
        f"In the middle they are {middle:.2f} times as wide as high. {meaning}",
        f"{advice}, or an image_size of their shape, such as {size}.",
    )  # fmt: skip


def _grey(look: Look) -> Iterator[Finding]:
    if look.spec.channels == 3 and len(look.readable) and look.records["grey"][look.readable].all():
        yield finding(
            None, "grey", NOTE, "no picture has colour",
            "Three equal channels cost time and tell nothing more than one.",
            "Write channels: 1 under data, unless a pretrained network wants three.",
        )  # fmt: skip


def _copies(look: Look) -> Iterator[Finding]:
    """Groups of duplicates: copies only, look-alikes, and long sequences of these."""
    told = [*conflicts(look.examples, look.pairs, look.copied_N), *_mixed(look)]
    told += [each for each in look.groups if (look.side_N[each] == LEFT_OUT).any()]  # by _apart
    settled = {int(each[0]) for each in told}
    exact: list[np.ndarray] = []
    near: list[np.ndarray] = []
    long: list[np.ndarray] = []
    for members in look.groups:
        copies = bool((look.copied_N[members] == look.copied_N[members[0]]).all())
        if not copies and len(members) >= SEQUENCE:
            long.append(members)
        elif int(members[0]) not in settled:
            (exact if copies else near).append(members)
    together = "The split keeps them on one side, so that none leaks."
    if look.spec.split.duplicates == "ignore":
        together = "With split: {duplicates: ignore} they may be on two sides."
    if long:
        count = sum(len(each) for each in long)
        yield finding(
            look, "sequences", WARNING,
            some(count, "picture belongs", "pictures belong") + " to "
            + some(len(long), "long series", "long series") + " of near duplicates, up to "
            f"{len(long[0]):,} in one",
            f"Such as frames of one animation. {together}",
            "Expect a lower and more honest score than from a split at random, and count the "
            "series rather than the pictures: variety is what helps.",
            grouped=long,
        )  # fmt: skip
    if near:
        yield finding(
            look, "near_duplicates", NOTE,
            some(sum(len(each) for each in near), "picture resembles", "pictures resemble")
            + " another one closely, in " + some(len(near), "group", "groups"),
            f"Resized, re-encoded, mirrored or slightly changed. {together}",
            "There is nothing to do, unless one of them is there by mistake.",
            grouped=near,
        )  # fmt: skip
    if exact:
        yield finding(
            look, "copies", NOTE,
            some(sum(len(each) - 1 for each in exact), "picture is a copy", "pictures are copies")
            + " of another one, in " + some(len(exact), "group", "groups"),
            f"The same bytes twice count double in training. {together}",
            "Delete the copies, unless they are meant to count double.",
            grouped=exact,
        )  # fmt: skip


def _unlabelled(look: Look) -> Iterator[Finding]:
    labels = look.examples.labels
    empty = np.flatnonzero(labels.sum(axis=1) == 0) if labels.ndim == 2 else labels[:0]
    if len(empty):
        yield finding(
            look, "no_label", NOTE,
            some(len(empty), "picture has", "pictures have") + " no label at all",
            "They are examples of nothing, and teach the network to say so.",
            "Remove them if their labels are only missing.",
            empty,
        )  # fmt: skip


# field of the record -> kind, (one picture, many pictures), what it means, what to do
TRAITS = {
    "orientation": (
        "turned", ("picture is", "pictures are"), "turned upright by EXIF",
        "The camera was held another way; trainer turns them everywhere, so training and "
        "prediction agree.",
        "There is nothing to do. Other programs may show them turned.",
    ),
    "alpha": (
        "alpha", ("picture has", "pictures have"), "an alpha channel",
        "It is dropped: where a picture is transparent, the colour beneath shows, often black.",
        "If that matters, lay such pictures over a background of your choice.",
    ),
    "deep": (
        "deep", ("picture has", "pictures have"), "16 bits per channel",
        "They are read with 8 bits, the upper half.",
        "There is nothing to do for photos. Measurements that fill a part of the range only "
        "should be stretched to 8 bits first.",
    ),
    "animated": (
        "animated", ("picture is", "pictures are"), "animated",
        "Only the first frame is used.",
        "Save the frames that you need as files; else there is nothing to do.",
    ),
}  # fmt: skip


def _traits(look: Look) -> Iterator[Finding]:
    least = {"orientation": 1}  # 1: upright already
    for field, (kind, verb, what, meaning, advice) in TRAITS.items():
        has = look.readable[look.records[field][look.readable] > least.get(field, 0)]
        if len(has):
            title = f"{some(len(has), *verb)} {what}"
            yield finding(look, kind, NOTE, title, meaning, advice, has)


CHECKS: tuple[Callable[[Look], Iterator[Finding]], ...] = (
    *(_unreadable, _conflicting, _leaks, _gaps, _imbalance, _few, _constant, _other_labels),
    *(_copies, _misnamed, _small, _shape, _grey, _unlabelled, _traits),
)
