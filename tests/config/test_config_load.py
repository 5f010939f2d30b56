"""Does every way of saying a value reach the configuration, and does a written configuration read back the same?"""

import math
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from annotated_types import Ge, Gt, Le, Lt
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sojourn.config import Config
from sojourn.config.algorithms import DqnSettings, PluginSettings, SacSettings
from sojourn.config.load import dump_config, load_config, profile_names
from sojourn.config.schema import TableSettings


def write(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_no_file_and_no_override_give_the_defaults():
    assert load_config(None, []) == Config()


def test_an_empty_file_and_empty_sections_give_the_defaults(tmp_path):
    assert load_config(write(tmp_path, ""), []) == Config()
    assert load_config(write(tmp_path, "run:\ntables:\n  replay:\nalgorithm:\n"), []) == Config()


@pytest.mark.parametrize(
    ("override", "value"),
    [
        ("run.env_steps=1e6", 1_000_000),
        ("run.env_steps=1_000_000", 1_000_000),
        ("run.env_steps=2.5e5", 250_000),
        ("algorithm.learning_rate=1e-3", 0.001),
        ("algorithm.learning_rate=.5", 0.5),
        ("learners.steps=null", None),
        ("evaluation.video=true", True),
        ("run.name=12", "12"),
        ("run.name=off", "off"),
        ("run.name=1:30", "1:30"),
        ("run.name=2024-01-01", "2024-01-01"),
        ("run.name=", ""),
        ("run.name=a=b", "a=b"),
        ("network.hidden=[64, 64]", (64, 64)),
        ("environment.kwargs.gravity=9.8", 9.8),
    ],
)
def test_an_override_is_read_as_yaml(override, value):
    read: Any = load_config(None, [override])
    for part in override.partition("=")[0].split("."):
        read = read[part] if isinstance(read, dict) else getattr(read, part)
    assert read == value
    assert type(read) is type(value)


def test_a_plain_value_for_a_section_is_its_main_key():
    config = load_config(None, ["actors=16", "replay=4", "learners=1", "algorithm=dqn", "network=mlp", "environment=CartPole-v1"])
    assert (config.actors.replicas, config.replay.shards, config.learners.replicas) == (16, 4, 1)
    assert (config.algorithm, config.network.name, config.environment.id) == (DqnSettings(), "mlp", "CartPole-v1")


def test_the_same_shorthand_works_in_a_file_and_keeps_what_lies_beneath(tmp_path):
    path = write(tmp_path, "actors:\n  replicas: 2\n  environments: 8\n")
    config = load_config(path, ["actors=3"])
    assert (config.actors.replicas, config.actors.environments) == (3, 8)
    assert load_config(write(tmp_path, "actors: 5\n"), []).actors.replicas == 5


def test_the_last_of_two_overrides_counts():
    assert load_config(None, ["run.seed=1", "run.seed=2"]).run.seed == 2


def test_another_algorithm_drops_the_settings_of_the_one_beneath(tmp_path):
    path = write(tmp_path, "algorithm:\n  name: sac\n  target_entropy: -3\n")
    assert load_config(path, ["algorithm=dqn"]).algorithm == DqnSettings()
    assert load_config(path, ["algorithm.discount=0.9"]).algorithm == SacSettings(target_entropy=-3, discount=0.9)


def test_an_algorithm_from_outside_keeps_its_own_settings():
    config = load_config(None, ["algorithm=my.module:Thing", "algorithm.settings.depth=3"])
    assert config.algorithm == PluginSettings(name="my.module:Thing", settings={"depth": 3})


def test_tables_are_merged_by_name(tmp_path):
    path = write(tmp_path, "tables:\n  replay:\n    n_step: 3\n  extra:\n    sampler: uniform\n")
    config = load_config(path, ["tables.replay.capacity_steps=5000"])
    assert config.tables["replay"] == TableSettings(n_step=3, capacity_steps=5_000)
    assert config.tables["extra"] == TableSettings(sampler="uniform")


def test_layers_lie_over_one_another_in_the_order_that_the_module_states(tmp_path):
    write(tmp_path, "learners:\n  device: cuda\n  threads: 8\n  prefetch: 64\n", "profiles/gpu.yaml")
    write(tmp_path, "learners:\n  threads: 2\n", "profiles/small.yaml")
    path = write(tmp_path, "profile: gpu\nlearners:\n  threads: 4\n")

    named_by_file = load_config(path, []).learners
    assert (named_by_file.device, named_by_file.threads, named_by_file.prefetch) == ("cuda", 4, 64)
    named_by_command = load_config(path, ["learners.prefetch=5", "profile=small"]).learners
    assert (named_by_command.device, named_by_command.threads, named_by_command.prefetch) == ("auto", 2, 5)
    by_path = load_config(path, ["profile=profiles/gpu.yaml"]).learners
    assert by_path.threads == 8
    assert {"gpu", "small"} <= set(profile_names(tmp_path))


def test_anchors_and_comments_are_plain_yaml(tmp_path):
    path = write(tmp_path, "run:\n  seed: &seed 7  # used twice\nlearners:\n  threads: *seed\n")
    config = load_config(path, [])
    assert (config.run.seed, config.learners.threads) == (7, 7)


def test_loading_imports_neither_torch_nor_ray():
    code = "import sys; from sojourn.config.load import load_config; load_config(None, []); print({'torch','ray','mujoco'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# Any configuration, from the models themselves.

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
FREE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


def values_of(annotation: Any, field: FieldInfo) -> st.SearchStrategy[Any]:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if origin is typing.Annotated:
        return values_of(arguments[0], FieldInfo.from_annotation(annotation))
    if origin in (types.UnionType, typing.Union):
        return st.one_of(*(values_of(inner, field) for inner in arguments))
    if origin is tuple:
        return st.lists(values_of(arguments[0], field), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(TEXT, values_of(arguments[1], field), max_size=2)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return instances(annotation)
    if annotation is str:
        patterns = [limit.pattern for limit in field.metadata if getattr(limit, "pattern", None)]
        return st.from_regex(patterns[0], fullmatch=True, alphabet=st.characters(codec="ascii")) if patterns else TEXT
    if annotation in (int, float):
        return numbers(annotation, field)
    return {type(None): st.none(), bool: st.booleans(), Any: FREE}[annotation]


def numbers(kind: type, field: FieldInfo) -> st.SearchStrategy[Any]:
    low, high = -(10**6), 10**12
    for bound in field.metadata:
        match bound:
            case Ge(limit) | Gt(limit):
                low = limit
            case Le(limit) | Lt(limit):
                high = limit
    if kind is int:
        return st.integers(low, high)
    return st.floats(low, high, exclude_min=True, exclude_max=True).filter(math.isfinite)


def instances(model: type[BaseModel]) -> st.SearchStrategy[Any]:
    """Instances with a few fields set at a time: most random whole configurations contradict themselves."""
    fields = {name: values_of(field.annotation, field) for name, field in model.model_fields.items()}
    required = {name: fields[name] for name, field in model.model_fields.items() if field.is_required()}
    chosen = st.sets(st.sampled_from(sorted(fields)), max_size=3)
    return chosen.flatmap(lambda names: st.fixed_dictionaries({**required, **{name: fields[name] for name in names}})).map(
        lambda values: possible(model, values, required)
    )


def possible(model: type[BaseModel], values: dict[str, Any], required: dict[str, Any]) -> BaseModel:
    """The instance, or one of the required fields alone if the others contradict each other."""
    try:
        return model(**values)
    except ValidationError:
        return model(**{name: values[name] for name in required})


@settings(max_examples=150, deadline=None, derandomize=True)
@given(config=instances(Config))
def test_a_written_configuration_reads_back_equal(config, tmp_path_factory):
    path = tmp_path_factory.getbasetemp() / "round_trip.yaml"
    path.write_text(dump_config(config), encoding="utf-8")
    assert load_config(path, []) == config
