"""How is YAML text read so that every value keeps the place where it was written, and written so that it reads back the same?

Scalars follow YAML 1.2, not PyYAML's 1.1: `1e6` and `1_000_000` are numbers; `yes`, `off` and `1:30` are text. Reads files.
"""

import difflib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sojourn.errors import ConfigError

MOST_NAMED = 10
MOST_LEVELS = 50  # of lists and mappings in each other; the deepest key of the schema has six
KeyPath = tuple[str | int, ...]

_TOO_DEEP = f"more than {MOST_LEVELS} lists or mappings lie in each other"
_INTEGER = re.compile(r"^[-+]?[0-9][0-9_]*$|^0x[0-9a-fA-F]+$")
_FLOAT = re.compile(r"^[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$|^[-+]?\.(inf|Inf|INF)$|^\.(nan|NaN|NAN)$")
_BOOLEAN = re.compile(r"^(true|True|TRUE|false|False|FALSE)$")
_NULL = re.compile(r"^(~|null|Null|NULL|)$")


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""


class _Dumper(yaml.SafeDumper):
    """SafeDumper that also quotes text which `_Loader` would take for a number. Shared lists are written out twice."""

    def ignore_aliases(self, value: Any) -> bool:
        return True


def _integer(loader: _Loader, node: yaml.ScalarNode) -> int:
    text = node.value.replace("_", "")
    return int(text, 16) if text.startswith("0x") else int(text)


def _float(loader: _Loader, node: yaml.ScalarNode) -> float:
    text = node.value.replace("_", "").lower()
    return float(text.replace(".inf", "inf").replace(".nan", "nan"))


_Loader.yaml_implicit_resolvers = {}
for _kind, _pattern, _first in (
    ("bool", _BOOLEAN, "tTfF"),
    ("int", _INTEGER, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("null", _NULL, ["~", "n", "N", ""]),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, list(_first))
    _Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, list(_first))
_Loader.add_constructor("tag:yaml.org,2002:int", _integer)
_Loader.add_constructor("tag:yaml.org,2002:float", _float)


@dataclass(frozen=True)
class Layer:
    """Values of one file or override, and where each was written ("x.yaml:7" or "override a.b=c") by its path of keys."""

    values: dict[str, Any] = field(default_factory=dict)
    places: dict[KeyPath, str] = field(default_factory=dict)


def read_file(path: Path) -> Layer:
    """Read a YAML file. Raises ConfigError, with the line, if it is missing, no YAML, no mapping, or says a key twice."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: there is no such file{_files_beside(path)}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read: {error}") from error
    node = _compose(text, str(path))
    if node is None:
        return Layer()
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}:{_line(node)}: a configuration is a mapping of sections, got {_shown(node)}")
    places: dict[KeyPath, str] = {}
    return Layer(_value(node, (), str(path), places, ()), places)


def read_override(text: str) -> Layer:
    """Read `a.b.c=value`, the value being YAML; an empty value is empty text. Raises ConfigError."""
    key, equals, value_text = text.partition("=")
    path: tuple[str, ...] = tuple(key.strip().split("."))
    if not equals or not all(path):
        raise ConfigError(f"override {text}: write key=value, for example learners.batch_size=512")
    node = _compose(value_text, f"override {text}") if value_text.strip() else None
    places: dict[KeyPath, str] = {path[:depth]: f"override {text}" for depth in range(1, len(path) + 1)}
    inner: dict[KeyPath, str] = {}
    value = "" if node is None else _value(node, (), f"override {text}", inner, ())
    places.update({(*path, *rest): f"override {text}" for rest in inner})
    for part in reversed(path[1:]):
        value = {part: value}
    return Layer({path[0]: value}, places)


def write(values: Mapping[str, Any]) -> str:
    """YAML text of nested mappings, lists and scalars, in the order given."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=120)


def _compose(text: str, source: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        raise ConfigError(f"{_at(source, line)}: not YAML: {error.problem}") from error
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: not YAML: {str(error).splitlines()[0]}") from error
    except RecursionError as error:
        raise ConfigError(f"{source}: {_TOO_DEEP}") from error


def _value(node: yaml.Node, path: KeyPath, source: str, places: dict[KeyPath, str], above: tuple[int, ...]) -> Any:
    """The node's value; `places` gets the line of every key beneath it. above: nodes on the way, to refuse an alias of itself."""
    if id(node) in above:
        raise ConfigError(f"{_at(source, _line(node))}: an anchor contains itself")
    if len(above) > MOST_LEVELS:
        raise ConfigError(f"{_at(source, _line(node))}: {_TOO_DEEP}")
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key, key_node, inner in _entries(node, source):
            if key in mapping:
                raise ConfigError(f"{_at(source, _line(key_node))}: {'.'.join(map(str, (*path, key)))} is given twice")
            places[(*path, key)] = _at(source, _line(key_node))
            mapping[key] = _value(inner, (*path, key), source, places, (*above, id(node)))
        return mapping
    if isinstance(node, yaml.SequenceNode):
        for index, inner in enumerate(node.value):
            places[(*path, index)] = _at(source, _line(inner))
        return [_value(inner, (*path, index), source, places, (*above, id(node))) for index, inner in enumerate(node.value)]
    return _scalar(node, source)


def _entries(node: yaml.MappingNode, source: str) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
    for key_node, inner in node.value:
        if not isinstance(key_node, yaml.ScalarNode):
            raise ConfigError(f"{_at(source, _line(key_node))}: a key is a word, got {_shown(key_node)}")
        yield key_node.value, key_node, inner


def _scalar(node: yaml.Node, source: str) -> Any:
    loader = _Loader("")
    try:
        return loader.construct_object(node)
    except (yaml.YAMLError, ValueError) as error:
        reason = getattr(error, "problem", None) or str(error)
        raise ConfigError(f"{_at(source, _line(node))}: {node.value!r} cannot be read: {reason}") from error
    finally:
        loader.dispose()


def _at(source: str, line: int) -> str:
    return source if source.startswith("override ") else f"{source}:{line}"


def _line(node: yaml.Node) -> int:
    return int(node.start_mark.line) + 1


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return repr(node.value)
    return "a mapping" if isinstance(node, yaml.MappingNode) else "a list"


def _files_beside(path: Path) -> str:
    there = sorted(entry.name for entry in path.parent.glob("*.y*ml")) if path.parent.is_dir() else []
    shown = there if len(there) <= MOST_NAMED else difflib.get_close_matches(path.name, there, n=MOST_NAMED, cutoff=0.3)
    return f"; in {path.parent} there are {', '.join(shown)}" if shown else ""
