"""pydantic's findings -> what the user reads: the path as written, the expectation, the value."""

import re
from collections.abc import Sequence
from typing import Any, get_args, get_origin, get_type_hints

from pydantic_core import ErrorDetails

from trainer.config.base import Section
from trainer.errors import UserError, received, suggestion


def join(where: str, key: str) -> str:
    """The path of a key inside the mapping at `where`."""
    return f"{where}.{key}" if where else key


_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "model_type": "a mapping of `key: value`",
    "model_attributes_type": "a mapping of `key: value`",
    "dict_type": "a mapping of `key: value`",
}


def humane(detail: ErrorDetails, section: type[Section], value: Any) -> UserError:
    """One finding about `value`, the plain data that `section` refused."""
    where = ""
    keys = list(detail["loc"])
    last = keys[-1] if detail["type"] in ("missing", "extra_forbidden") else None
    tag = None  # what pydantic puts after the path of a section of a union: its kind
    for key in keys[:-1] if last is not None else keys:
        if key == tag:
            tag = None
            continue
        if isinstance(key, int):
            where, value = f"{where}[{key}]", value[key] if key < len(value) else None
            tag = value.get("kind") if isinstance(value, dict) else None
            continue
        if not isinstance(value, dict) or key not in value:
            continue  # the tag or the member of a union, which pydantic adds to its path
        where, value = join(where, key), value[key]
        tag = value.get("kind") if isinstance(value, dict) else None
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "missing" and isinstance(last, int):
        return UserError(where, f"expected more values, received {received(value)}")
    if kind == "missing":
        return UserError(where, f"the key '{last}' is missing", f"add `{last}:`")
    if kind == "extra_forbidden":
        alike = any(each.alike for each in _members(section, keys[:-1]))
        hint = _elsewhere(section, str(last)) or suggestion(
            "" if alike else str(last), _known_keys(section, keys[:-1])
        )
        return UserError(join(where, str(last)), f"unknown key '{last}'", hint)
    if kind == "union_tag_not_found":
        tags = sorted(tag for each in _members(section, keys) for tag in _tags(each))
        kinds = " or ".join(filter(None, (", ".join(tags[:-1]), tags[-1])))
        return UserError(where, "the key 'kind' is missing", f"add `kind:`, {kinds}")
    if kind == "union_tag_invalid":
        tags = re.findall(r"'(\w+)'", context["expected_tags"])
        return UserError(
            join(where, "kind"),
            f"unknown kind '{context['tag']}'",
            suggestion(context["tag"], tags),
        )
    if kind == "value_error":
        return UserError(where, str(context["error"]))
    if kind == "literal_error":
        return UserError(where, f"expected {context['expected']}, received {received(value)}")
    if kind in ("too_short", "too_long"):
        wanted = context.get("min_length", context.get("max_length"))
        return UserError(where, f"expected a list of {wanted}, received {received(value)}")
    if kind == "string_pattern_mismatch":
        return UserError(
            where, f"expected text that matches {context['pattern']}, received {received(value)}"
        )
    expected = _EXPECTED.get(kind) or detail["msg"].removeprefix("Input should be ")
    return UserError(where, f"expected {expected}, received {received(value)}")


def merged(errors: Sequence[UserError]) -> list[UserError]:
    """Of a value that may be of several kinds, pydantic says for each why it is none: one finding,
    `expected this or that`; where the inside of one kind is wrong, that kind was meant."""
    found: dict[tuple[str, str], UserError] = {}
    for error in errors:
        expected, _, rest = error.problem.partition(", received ")
        if not rest or not expected.startswith("expected "):
            found[error.where, error.problem] = error
        elif not any(re.match(re.escape(error.where) + r"[.\[]", each.where) for each in errors):
            former = found.get((error.where, rest))
            if former:
                first = former.problem.partition(", received ")[0]
                expected = f"{first}, or {expected.removeprefix('expected ')}"
            problem = f"{expected}, received {rest}"
            found[error.where, rest] = UserError(error.where, problem, error.hint)
    return list(found.values())


def _known_keys(section: type[Section], loc: Sequence[int | str]) -> set[str]:
    """The keys of the section at pydantic's location."""
    return {key for each in _members(section, loc) for key in each.model_fields}


def _elsewhere(section: type[Section], key: str) -> str:
    """Where a key of this name belongs, if just one part of the section has it."""
    parts = [
        name
        for name, field in section.model_fields.items()
        if any(key in each.model_fields for each in _sections(field.annotation))
    ]
    return f"it belongs to {parts[0]}: {join(parts[0], key)}" if len(parts) == 1 else ""


def _members(section: type[Section], loc: Sequence[int | str]) -> list[type[Section]]:
    """The section at pydantic's location (which names the tags of unions), or a union's members."""
    kind: Any = section
    for key in loc:
        if isinstance(key, int):
            continue
        if get_origin(kind) is dict:  # the key is the user's own name
            kind = get_args(kind)[1]
            continue
        members = _sections(kind)
        if key in [each.__name__ for each in members]:  # one of a union without tags
            kind = next(each for each in members if each.__name__ == key)
            continue
        tagged = [each for each in members if key in _tags(each)]
        kind = tagged[0] if tagged else get_type_hints(members[0], include_extras=True).get(key)
    return _sections(kind)


def _sections(kind: Any) -> list[type[Section]]:
    """The sections that a type is made of: itself, the members of a union, the items of a list."""
    if isinstance(kind, type) and issubclass(kind, Section):
        return [kind]
    return [section for part in get_args(kind) for section in _sections(part)]


def _tags(section: type[Section]) -> tuple[Any, ...]:
    hint = section.model_fields.get("kind")
    return get_args(hint.annotation) if hint else ()
