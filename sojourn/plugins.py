"""Resolve a plug-in by short name or by `package.module:attribute`.

Each concept's owner keeps one dict from short name to callable; code outside the repository is named by its import path.
No I/O except the import itself.
"""

import difflib
import importlib
import traceback
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from sojourn.errors import ConfigError


def resolve(name: str, known: Mapping[str, Any], concept: str) -> Any:
    """Return `known[name]`, or import `package.module:attribute`.

    concept: what is being looked up, for the message ("algorithm", "sampler", "weighting").
    Raises ConfigError when neither exists, naming the nearest known names.
    """
    if name in known:
        return known[name]
    if ":" in name:
        return import_attribute(name, concept)
    near = difflib.get_close_matches(name, known, n=3) or sorted(known)
    raise ConfigError(f"unknown {concept} {name!r}; known: {', '.join(near)}; or give package.module:attribute")


def import_attribute(path: str, concept: str) -> Any:
    """Import `package.module:attribute`, or raise ConfigError saying which half is missing."""
    module_name, _, attribute = path.partition(":")
    try:
        module = import_module(module_name)
    except ImportError as error:
        raise ConfigError(f"cannot import {concept} {path!r}: {error}") from error
    try:
        value: Any = module
        for part in attribute.split("."):
            value = getattr(value, part)
    except AttributeError as error:
        raise ConfigError(f"cannot find {concept} {path!r}: {error}") from error
    return value


def import_module(name: str) -> ModuleType:
    """Import a user's module. Whatever stops it, a mistake in its text included, is an ImportError in one sentence."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except (Exception, SystemExit) as error:  # it is the user's code: it may raise anything
        raise ImportError(told(error)) from error


def told(error: BaseException) -> str:
    """What a user's code raised, and the line where: "KeyError: 'x' (robot.py:12)". A SyntaxError names its line by itself."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "importlib" not in frame.filename]
    place = f" ({frames[-1].filename}:{frames[-1].lineno})" if len(frames) > 1 and not isinstance(error, SyntaxError) else ""
    return f"{type(error).__name__}: {error}{place}"
