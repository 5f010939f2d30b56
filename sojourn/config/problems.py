"""What is wrong with a configuration, in one line a mistake: where it was written, which key, which value, what to write instead.

Translates pydantic's error records; its own wording never reaches a user. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from sojourn.config.algorithms import KNOWN_ALGORITHMS
from sojourn.config.keys import suggestion
from sojourn.config.schema import COLUMN_NAME, DEVICE, REDIS_URL
from sojourn.config.yaml_text import KeyPath

_NEEDS = {
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_parsing_size": "a whole number of at most 64 bits",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "string_type": "text",
    "tuple_type": "a list",
    "list_type": "a list",
    "dict_type": "a mapping of keys to values",
    "model_type": "a section with keys of its own",
    "model_attributes_type": "a section with keys of its own",
}
_PATTERNS = {
    COLUMN_NAME: "lower-case letters, digits and _, a letter first",
    DEVICE: "auto, cpu, cuda or cuda:N",
    REDIS_URL: "empty, or begin with redis://, rediss:// or unix://",
}
_BOUNDS = {
    "greater_than": ("above", "gt"),
    "greater_than_equal": ("at least", "ge"),
    "less_than": ("below", "lt"),
    "less_than_equal": ("at most", "le"),
}


def described(error: ValidationError, values: Mapping[str, Any], places: Mapping[KeyPath, str]) -> list[str]:
    """One line for each mistake: those of files by line, then those of overrides."""
    found = [_found(record, path, values, places) for path, record in _flat(error, ())]
    return [f"{place}: {sentence}" for place, sentence in sorted(found, key=lambda one: _reading_order(one[0]))]


def _reading_order(place: str) -> tuple[bool, str, int]:
    source, _, line = place.rpartition(":")
    return (place.startswith("override "), source, int(line)) if line.isdigit() else (True, "", 0)


def _flat(error: ValidationError, prefix: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    """Records with full paths; a model validated inside a validator reports through that validator's record."""
    for record in error.errors(include_url=False):
        path = (*prefix, *(part for part in record["loc"] if part != "[key]"))
        inner = record.get("ctx", {}).get("error")
        if isinstance(inner, ValidationError):
            yield from _flat(inner, path)
        else:
            yield path, record


def _found(record: Any, path: KeyPath, values: Mapping[str, Any], places: Mapping[KeyPath, str]) -> tuple[str, str]:
    """Place and sentence of one record."""
    key, value, place = ".".join(map(str, path)), record["input"], place_of(path, places)
    if record["type"] == "extra_forbidden":
        return place, f"unknown key {key} (value {_short(value)}); {suggestion(key, values)}"
    if record["type"] == "value_error":
        sentence = str(record["ctx"]["error"])
        return place_of(_named_path(path, sentence, places), places), f"{key}: {sentence}" if key else sentence
    if path == ("algorithm", "name"):
        return place, f"unknown algorithm {value!r}; known: {', '.join(KNOWN_ALGORITHMS)}; or give package.module:attribute"
    return place, f"{key} must be {_needed(record)}, got {_short(value)}"


def _needed(record: Any) -> str:
    kind, context = record["type"], record.get("ctx", {})
    if kind in _BOUNDS:
        word, name = _BOUNDS[kind]
        return f"{word} {context[name]:,}".replace(",", "_")
    if kind == "literal_error":
        return str(context["expected"]).replace("'", "")
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context["pattern"], f"text like {context['pattern']}")
    return _NEEDS.get(kind) or str(record["msg"]).lower()


def place_of(path: KeyPath, places: Mapping[KeyPath, str]) -> str:
    """Where the key was written, or the nearest section above it."""
    for depth in range(len(path), 0, -1):
        if path[:depth] in places:
            return places[path[:depth]]
    return "defaults"


def _named_path(path: KeyPath, sentence: str, places: Mapping[KeyPath, str]) -> KeyPath:
    """Of the keys that a sentence about section `path` names, the first that somebody wrote; else the section."""
    for word in re.findall(r"[\w.]+", sentence):
        parts = word.strip(".").split(".")
        for depth in range(len(parts), 0, -1):
            if (*path, *parts[:depth]) in places:
                return (*path, *parts[:depth])
    return path


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
