"""Which small mistakes can a function have, and how is one put into it while it is loaded? Reads files; runs nothing of them."""

import ast
import gc
import inspect
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import _lru_cache_wrapper
from pathlib import Path
from types import CodeType, FunctionType

import libcst as cst
from libcst.metadata import MetadataWrapper
from mutmut.mutation.file_mutation import MutationVisitor
from mutmut.mutation.mutators import mutation_operators
from mutmut.mutation.pragma_handling import IgnoredCode

ROOT = Path(__file__).parents[2]
Loaded = dict[tuple[str, str], list[FunctionType]]
"""Functions by file and qualified name."""


@dataclass(frozen=True)
class Mutant:
    """One function with one mistake. sound, mutated: its source, within its class if it is a method."""

    file: str
    function: str
    sound: str
    mutated: str

    def plant(self, loaded: Loaded) -> None:
        """Exchange the code of the function, whoever holds it: importers, decorators, properties."""
        path = str(ROOT / self.file)
        node = next(found for found in ast.walk(ast.parse(self.mutated)) if isinstance(found, ast.FunctionDef))
        code = next(found for found in _codes(compile(self.mutated, path, "exec")) if found.co_qualname == self.function)
        for function in loaded[path, self.function]:
            function.__code__ = code
            function.__defaults__ = tuple(_value(given, function) for given in node.args.defaults)
            by_name = zip((argument.arg for argument in node.args.kwonlyargs), node.args.kw_defaults, strict=True)
            function.__kwdefaults__ = {name: _value(given, function) for name, given in by_name if given is not None}


def _codes(code: CodeType) -> Iterator[CodeType]:
    """All code inside of a module's."""
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield constant
            yield from _codes(constant)


def _value(default: ast.expr, function: FunctionType) -> object:
    return eval(compile(ast.Expression(default), "default", "eval"), function.__globals__)


class Finder(MutationVisitor):
    """mutmut's visitor, which also enters decorated functions."""

    def _skip_node_and_children(self, node: cst.CSTNode) -> bool:
        decorated = isinstance(node, cst.FunctionDef) and bool(node.decorators)
        return not decorated and super()._skip_node_and_children(node)


def mutants_of(file: str, only: tuple[str, ...]) -> Iterator[Mutant]:
    """Every mutant of a file's functions, of those in `only` if it is not empty; each source once."""
    text = (ROOT / file).read_text()
    wrapper = MetadataWrapper(cst.parse_module(text))
    finder = Finder(mutation_operators, IgnoredCode(set(), set(), set()))
    module, seen = wrapper.visit(finder), set()
    owners = {member: one.name.value for one in module.body if isinstance(one, cst.ClassDef) for member in one.body.body}
    for mutation in finder.mutations:
        function = mutation.contained_by_top_level_function
        if not isinstance(function, cst.FunctionDef) or (only and function.name.value not in only):
            continue
        owner = owners.get(function, "")
        changed = function.deep_replace(mutation.original_node, mutation.mutated_node)
        sound, mutated = (_standing(module.code_for_node(node), owner) for node in (function, changed))
        if mutated not in seen | {sound}:
            seen.add(mutated)
            yield Mutant(file, f"{owner}.{function.name.value}".lstrip("."), sound, mutated)


def _standing(source: str, owner: str) -> str:
    """A function's source that compiles alone: a method in its class, for its qualified name and its `super()`."""
    return f"class {owner}:\n{textwrap.indent(textwrap.dedent(source), '    ')}" if owner else source


def loaded_functions() -> Loaded:
    """All functions of this repository that are loaded, also those behind decorators."""
    found: Loaded = {}
    for thing in gc.get_objects():
        if type(thing) is FunctionType and thing.__code__.co_filename.startswith(str(ROOT)):
            found.setdefault((thing.__code__.co_filename, thing.__code__.co_qualname), []).append(thing)
    return found


def forget_cached() -> None:
    """Empty the caches of our functions, which would answer for a mutant."""
    for thing in gc.get_objects():
        if type(thing) is _lru_cache_wrapper:
            behind = inspect.unwrap(thing)
            if type(behind) is FunctionType and behind.__code__.co_filename.startswith(str(ROOT)):
                thing.cache_clear()
