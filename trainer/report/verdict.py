"""Can it be shipped? What speaks against it, and what nobody knows yet."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from trainer.figures import ENDS
from trainer.report.found import Found
from trainer.report.tables import value, wanted, words

Level = Literal["problem", "warning", "note", "good"]

HALF = 0.5  # of its pictures: a class of which fewer are found is not known
BEHIND = 0.15  # recall of a class below the mean of all, from which on it is worth a word
FEW = 20  # pictures of a class: less says little (1 of 20 is 5 %)
VAGUE = 0.1  # of the width of an interval
CALIBRATED = 0.05  # expected calibration error


class Check(NamedTuple):
    """One question and its answer."""

    level: Level
    title: str
    meaning: str
    section: str  # of the page, where there is more


class Verdict(NamedTuple):
    """The answer in a word and a sentence."""

    level: Level
    word: str
    because: str


def verdict(checks: list[Check], found: Found) -> Verdict:
    """Problems say no; without figures or gates there is no yes."""
    count = Counter(check.level for check in checks)
    if count["problem"]:
        return Verdict("problem", "Not yet.", _first(checks, "problem"))
    if not found.metrics:
        return Verdict("warning", "Nobody knows.", "It was not evaluated.")
    if not found.gates:
        because = "Nothing speaks against it, but no gates say what is good enough."
        if count["warning"]:
            because = f"{_first(checks, 'warning')} No gates say what is good enough."
        return Verdict("warning", "That is for you to say.", because)
    if count["warning"]:
        return Verdict("warning", "Yes, with reservations.", _first(checks, "warning"))
    return Verdict("good", "Yes.", "It reaches every gate, and nothing speaks against it.")


def checks(found: Found, against: int, of: int) -> list[Check]:
    """All of them, the worst first.

    Args:
        against: pictures of which the network surely contradicts the label, or one of several.
        of: pictures that it was asked about.
    """
    every = [
        _evaluated(found),
        *_gates(found),
        *_classes(found),
        *_calibration(found),
        _exported(found),
        *_files(found),
        *_labels(found, against, of),
    ]
    order = ("problem", "warning", "note", "good")
    return sorted(every, key=lambda check: order.index(check.level))


def _first(checks: list[Check], level: Level) -> str:
    titles = [check.title for check in checks if check.level == level]
    more = f", and {len(titles) - 1} more below" if len(titles) > 1 else ""
    return f"{titles[0]}{more}."


def chief(found: Found) -> str:
    """The name of the figure that stands for all."""
    return "exact_match" if found.multi_label else "accuracy"


def _evaluated(found: Found) -> Check:
    metrics = found.metrics
    if not metrics:
        meaning = "There are no figures. Evaluate it: trainer evaluate " + str(found.folder)
        return Check("warning", "The run was not evaluated", meaning, "figures")
    name = chief(found)
    title = f"{name.replace('_', ' ').capitalize()} {metrics[name]:.1%}"
    title += f" on {metrics['examples']:,} {found.split} pictures"
    low, high = metrics.get("intervals", {}).get(name, (None, None))
    guess = _guess(found)
    if guess is not None and (low if low is not None else metrics[name]) <= guess:
        meaning = f"Always saying the most frequent class would be right in {guess:.1%}."
        return Check("problem", f"{title}: hardly better than guessing", meaning, "figures")
    if found.split != "test":
        meaning = "The best epoch was chosen on these pictures, so the figures are too good."
        return Check("warning", title, meaning, "figures")
    if low is None:
        return Check("note", title, "How sure that is was not computed.", "figures")
    between = f"With other pictures of the kind it would be between {low:.1%} and {high:.1%}"
    if high - low > VAGUE:
        meaning = f"{between}: more test pictures would say more."
        return Check("warning", f"{title}, give or take {(high - low) / 2:.1%}", meaning, "figures")
    return Check("good", title, f"{between}.", "figures")


def _guess(found: Found) -> float | None:
    """The share of the most frequent class among the evaluated pictures; None for several labels
    per picture or a single class."""
    support = [row["support"] for row in found.metrics["classes"].values()]
    if found.multi_label or len(support) < 2:
        return None
    return max(support) / max(sum(support), 1)


def _gates(found: Found) -> list[Check]:
    answers = [_asked(found)] if found.gates or not found.unasked else []
    if found.unasked:
        count = len(found.unasked)
        title = f"{count} gate{'s were' if count > 1 else ' was'} not asked since the config has "
        title += f"{'them' if count > 1 else 'it'}: {', '.join(map(words, found.unasked))}"
        meaning = f"Ask: trainer evaluate {found.folder}"
        answers.append(Check("problem", title, meaning, "figures"))
    return answers


def _asked(found: Found) -> Check:
    missed = [gate for gate in found.gates if not gate["passed"]]
    if not found.gates:
        meaning = "evaluation.gates in the config says what has to be reached."
        return Check("note", "No gates are set", meaning, "figures")
    if missed:
        told = "; ".join(map(_of, missed))
        names = ", ".join(
            words(each["name"]) + " (on a busy machine)" * disturbed(each) for each in missed
        )
        title = f"{len(missed)} of {len(found.gates)} gates missed: {names}"
        again = any(map(disturbed, missed)) * " Evaluate again when the machine is calm."
        return Check("problem", title, f"{told}.{again}", "figures")
    told = "; ".join(map(_of, found.gates))
    count = len(found.gates)
    title = f"All {count} gates passed" if count > 1 else "The gate is passed"
    return Check("good", title, f"{told}.", "figures")


def disturbed(gate: Mapping[str, Any]) -> bool:
    """Whether it is missed and might not be on a calm machine."""
    return bool(gate.get("disturbed"))


def _of(gate: Mapping[str, Any]) -> str:
    name, number = gate["name"], gate["found"]
    what = "was not found" if number is None else value(name, number)
    told = f"{words(name)} {what}, wanted {wanted(gate)}"
    return told + disturbed(gate) * f", while others used {gate.get('others') or 0:.0%} of the CPU"


def _classes(found: Found) -> list[Check]:
    rows = {name: row for name, row in found.metrics.get("classes", {}).items() if row["support"]}
    if not rows:
        return []
    worst = min(rows, key=lambda name: (rows[name]["recall"], name))
    recall, mean = rows[worst]["recall"], sum(row["recall"] for row in rows.values()) / len(rows)
    title = f"Worst class: of '{worst}' it finds {recall:.1%}"
    level: Level = "problem" if recall < HALF else "good"
    if level == "good" and recall < mean - BEHIND:
        level = "warning"
    meaning = f"On the mean of all {len(rows)} classes it finds {mean:.1%}."
    answers = [Check(level, title, meaning, "classes")]
    few = {name: row["support"] for name, row in rows.items() if row["support"] < FEW}
    missing = [name for name in found.metrics["classes"] if name not in rows]
    few |= dict.fromkeys(missing, 0)
    if few:
        least = min(few, key=lambda name: (few[name], name))
        some = "1 class was" if len(few) == 1 else f"{len(few)} classes were"
        title = f"{some} measured on fewer than {FEW} pictures"
        meaning = f"Such figures say little. '{least}' has {few[least]}."
        answers.append(Check("warning", title, meaning, "classes"))
    return answers


def _calibration(found: Found) -> list[Check]:
    error = found.metrics.get("calibration_error")
    if error is None:
        return []
    title = f"Confidence is off by {error:.1%} on the mean"
    if error <= CALIBRATED:
        meaning = "What it is sure of is right about as often as it says."
        return [Check("good", title, meaning, "confidence")]
    errors = found.metrics.get("confidence", {}).get("calibration_error", {})
    meaning = "Its probabilities are not to be taken at their word."
    end = found.confidence.get("end")
    if end:
        meaning += f" The temperature of validation is at an end of the search: {ENDS[end]}."
    elif not found.confidence.get("applied") and errors.get("with", error) < error:
        meaning += (
            f" With the temperature {found.confidence['temperature']:.3g} it would be "
            f"{errors['with']:.1%}: evaluation.confidence.temperature: true builds it in."
        )
    return [Check("warning", title, meaning, "confidence")]


def _exported(found: Found) -> Check:
    if not found.parity:
        meaning = "Nothing has been written that could be shipped: trainer export " + str(
            found.folder
        )
        return Check("note", "The run was not exported", meaning, "export")
    wrong = [row for row in found.parity if not row["agrees"]]
    if wrong:
        names = ", ".join(row["kind"] for row in wrong)
        title = f"{len(wrong)} of {len(found.parity)} exports disagree with Keras"
        return Check("problem", title, f"{names}: such files are not written.", "export")
    count = len(found.parity)
    title = f"All {count} exports agree with Keras" if count > 1 else "The export agrees with Keras"
    meaning = "Each was opened by its own runtime and compared on validation pictures."
    return Check("good", title, meaning, "export")


def _files(found: Found) -> list[Check]:
    answers = []
    unreadable = found.metrics.get("unreadable", [])
    if unreadable:
        title = f"{len(unreadable)} of the {found.split} pictures could not be read"
        meaning = "They count for nothing here; in use such pictures get no answer either."
        answers.append(Check("warning", title, meaning, "data"))
    if found.left_out:
        title = f"{len(found.left_out)} pictures are left out of all figures"
        reasons = Counter(why.partition(":")[0] for why in found.left_out.values())
        told = "; ".join(f"{count} × {why}" for why, count in reasons.most_common(3))
        answers.append(Check("note", title, f"{told}.", "data"))
    return answers


def _labels(found: Found, against: int, of: int) -> list[Check]:
    if not against:
        return []
    one = against == 1
    what = f"labels {'is' if one else 'are'}"
    if found.multi_label:  # each of K per picture could be one, so no share of these
        what = f"pictures {'has' if one else 'have'} a label that is"
    title = f"{against:,} of {of:,} {what} contradicted with great confidence"
    meaning = "Either the network is very wrong there, or the label is: look at them."
    return [Check("warning", title, meaning, "confident")]
