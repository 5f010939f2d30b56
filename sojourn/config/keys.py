"""Which dotted keys does a configuration have, and which of them did somebody mean? Pure functions over the models.

Names inside `tables` and `actors.fleets` are free, so the keys depend on the values given; those of `algorithm` on its name.
"""

import difflib
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel

from sojourn.config.algorithms import KNOWN_ALGORITHMS, PluginSettings
from sojourn.config.schema import Config

SHORTHANDS = {
    "actors": "replicas",
    "replay": "shards",
    "learners": "replicas",
    "algorithm": "name",
    "network": "name",
    "environment": "id",
}
"""Section -> the key that a plain value given for the section stands for: `actors=16` is `actors.replicas=16`."""

_RATIO = ("{table}.limiter.samples_per_insert",)
_ROWS = ("{table}.capacity_steps",)
FOREIGN: dict[str, tuple[str, ...]] = {
    "alpha": ("{table}.priority_exponent",),
    "beta": ("{table}.importance_exponent",),
    "buffer_capacity": _ROWS,
    "buffer_size": _ROWS,
    "ent_coef": ("algorithm.initial_temperature",),
    "env": ("environment.id",),
    "env_id": ("environment.id",),
    "env_kwargs": ("environment.kwargs",),
    "epsilon": ("algorithm.exploration_end",),
    "eps": ("algorithm.exploration_end",),
    "eval_freq": ("evaluation.every_env_steps",),
    "exploration_final_eps": ("algorithm.exploration_end",),
    "exploration_fraction": ("algorithm.exploration_env_steps",),
    "exploration_initial_eps": ("algorithm.exploration_start",),
    "gamma": ("algorithm.discount",),
    "gradient_steps": _RATIO,
    "hidden_sizes": ("network.hidden",),
    "learning_starts": ("{table}.limiter.min_size",),
    "lr": ("algorithm.learning_rate",),
    "max_grad_norm": ("algorithm.max_gradient_norm",),
    "max_staleness": ("{table}.duration.weight",),
    "n_envs": ("actors.environments",),
    "n_eval_episodes": ("evaluation.episodes",),
    "n_steps": ("{table}.n_step",),
    "net_arch": ("network.hidden",),
    "num_actors": ("actors.replicas",),
    "num_env_runners": ("actors.replicas",),
    "num_envs": ("actors.environments",),
    "num_envs_per_actor": ("actors.environments",),
    "num_learners": ("learners.replicas",),
    "num_workers": ("actors.replicas",),
    "policy_kwargs": ("network.hidden",),
    "prioritized_replay_alpha": ("{table}.priority_exponent",),
    "prioritized_replay_beta": ("{table}.importance_exponent",),
    "replay_ratio": _RATIO,
    "rollout_fragment_length": ("actors.segment_steps",),
    "target_update_interval": ("algorithm.target_update_every", "algorithm.target_update_rate"),
    "tau": ("algorithm.target_update_rate", "algorithm.target_update_every"),
    "total_timesteps": ("run.env_steps",),
    "train_batch_size": ("learners.batch_size",),
    "train_freq": _RATIO,
    "training_intensity": _RATIO,
    "utd_ratio": _RATIO,
    "verbose": (),
}
"""Usual names elsewhere -> ours, the first that the chosen algorithm has. `{table}` is the learner's table."""

FOREIGN_NOTES = {
    "gradient_steps": "in samples per inserted item: batch size times updates per environment step",
    "replay_ratio": "in samples per inserted item",
    "train_freq": "in samples per inserted item: batch size times updates per environment step",
    "utd_ratio": "in samples per inserted item: batch size times updates per environment step",
    "max_staleness": "slow actions are weighted, never dropped for their age",
    "exploration_fraction": "in environment steps, not as a fraction",
    "verbose": "there is nothing to set: lines or a live display are chosen by the terminal",
}


def section_model(annotation: Any) -> type[BaseModel] | None:
    """The model behind `Model` or `Model | None`; None for anything else (the algorithm's union included)."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if typing.get_origin(annotation) in (types.UnionType, typing.Union):
        models = [inner for inner in map(section_model, typing.get_args(annotation)) if inner]
        return models[0] if len(models) == 1 else None
    return None


def named_section_model(annotation: Any) -> type[BaseModel] | None:
    """The model behind `dict[str, Model]`; None for anything else."""
    if typing.get_origin(annotation) is dict:
        return section_model(typing.get_args(annotation)[1])
    return None


def known_keys(values: Mapping[str, Any]) -> list[str]:
    """Every dotted key, sections included, given the names of tables, fleets and algorithm in `values`."""
    return list(_keys(Config, values, ""))


def _keys(model: type[BaseModel], values: Any, prefix: str) -> Iterator[str]:
    values = values if isinstance(values, Mapping) else {}
    for name, field in model.model_fields.items():
        key, value = f"{prefix}{name}", values.get(name)
        yield key
        if not prefix and name == "algorithm":
            yield from _keys(algorithm_model(value), value, "algorithm.")
        elif section := section_model(field.annotation):
            yield from _keys(section, value, f"{key}.")
        elif named := named_section_model(field.annotation):
            default = field.get_default(call_default_factory=True)
            for inner_name in value if isinstance(value, Mapping) and value else default:
                yield f"{key}.{inner_name}"
                yield from _keys(named, None, f"{key}.{inner_name}.")


def algorithm_model(value: Any) -> type[BaseModel]:
    """The settings model of the algorithm that a section `algorithm` names."""
    name = value.get("name", "sac") if isinstance(value, Mapping) else "sac"
    return KNOWN_ALGORITHMS.get(str(name), PluginSettings)


def suggestion(key: str, values: Mapping[str, Any]) -> str:
    """What to write instead of the unknown `key`: "did you mean x.y?", our word for a foreign one, or where to look."""
    known = known_keys(values)
    leaf = _leaf(key)
    if leaf in FOREIGN and leaf not in map(_leaf, known):
        return _in_our_words(leaf, known, values)
    near = _nearest(key, known)
    return f"did you mean {near}?" if near else "`sojourn config` lists every key"


def _leaf(key: str) -> str:
    return key.rpartition(".")[2]


def _in_our_words(leaf: str, known: list[str], values: Mapping[str, Any]) -> str:
    learners = values.get("learners")
    table = learners.get("table", "replay") if isinstance(learners, Mapping) else "replay"
    ours = [key for key in (target.format(table=f"tables.{table}") for target in FOREIGN[leaf]) if key in known]
    note = FOREIGN_NOTES.get(leaf, "")
    if not ours:
        return note or "`sojourn config` lists every key"
    return f"here it is {ours[0]}" + (f" ({note})" if note else "")


def _nearest(key: str, known: list[str]) -> str:
    """The known key that ends in the same word, else one spelled alike in the same section, anywhere, or as a whole; else ""."""
    section, leaf = key.rpartition(".")[0], _leaf(key)
    same_leaf = [other for other in known if _leaf(other) == leaf]
    if same_leaf:
        return difflib.get_close_matches(key, same_leaf, n=1, cutoff=0.0)[0]
    siblings = {_leaf(other): other for other in known if other.rpartition(".")[0] == section}
    leaves = {_leaf(other): other for other in known}
    for word, candidates, cutoff in ((leaf, siblings, 0.6), (leaf, leaves, 0.8), (key, {other: other for other in known}, 0.6)):
        if near := difflib.get_close_matches(word, candidates, n=1, cutoff=cutoff):
            return candidates[near[0]]
    return ""
