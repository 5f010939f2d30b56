"""How does a configuration come from a file and the command line? The only reader of configuration files.

Layers, each lying over the one before: defaults, the profile that the file names, the file, the profile that the command line
names (instead of the file's), the other overrides. No torch.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

import sojourn
from sojourn.config.keys import SHORTHANDS, named_section_model, section_model
from sojourn.config.masking import starred
from sojourn.config.problems import described
from sojourn.config.schema import Config
from sojourn.config.yaml_text import KeyPath, Layer, read_file, read_override, write
from sojourn.errors import ConfigError

PROFILE = "profile"
"""The one key that is not in `Config`: the name of a file in `profiles/`, or a path, whose values are laid underneath."""


def load_config(path: Path | None, overrides: Sequence[str]) -> Config:
    """Read a file (None: defaults) and dotted overrides `key=value`.

    Raises ConfigError that lists every mistake, each with its file and line or override, its value, and what to write instead.
    """
    file = read_file(path) if path else Layer()
    given = [read_override(text) for text in overrides]
    beside = path.parent if path else Path("configs")
    over = [_profile(layer, beside) for layer in given if PROFILE in layer.values][-1:]
    under = [] if over or PROFILE not in file.values else [_profile(file, beside)]
    return _checked(_merged([*under, _without_profile(file), *over, *map(_without_profile, given)]))


def dump_config(config: Config) -> str:
    """YAML that `load_config` reads back to an equal Config; every key is written, defaults included."""
    return write(_plain(config.model_dump()))


def shown_config(config: Config) -> str:
    """Like `dump_config`, for eyes: passwords in addresses and values of keys that sound secret are starred."""
    return write(starred(_plain(config.model_dump())))


def profile_names(beside: Path = Path("configs")) -> list[str]:
    """Names that `profile` can take, from the folder of the configuration and from the shipped ones."""
    return sorted({file.stem for folder in _profile_folders(beside) for file in folder.glob("*.yaml")})


def _profile_folders(beside: Path) -> list[Path]:
    return [beside / "profiles", Path(sojourn.__file__).resolve().parents[1] / "configs" / "profiles"]


def _profile(layer: Layer, beside: Path) -> Layer:
    """Read the profile that a layer names."""
    name, place = layer.values[PROFILE], layer.places[(PROFILE,)]
    if not isinstance(name, str) or not name:
        raise ConfigError(f"{place}: {PROFILE} must be a name or a path, got {name!r}")
    candidates = [beside / name] if name.endswith((".yaml", ".yml")) else [f / f"{name}.yaml" for f in _profile_folders(beside)]
    found = next((file for file in candidates if file.is_file()), None)
    if found is None:
        known = ", ".join(profile_names(beside)) or "none"
        raise ConfigError(f"{place}: there is no profile {name!r} ({candidates[0]}); known: {known}")
    profile = read_file(found)
    if PROFILE in profile.values:
        raise ConfigError(f"{profile.places[(PROFILE,)]}: a profile cannot name another profile")
    return profile


def _without_profile(layer: Layer) -> Layer:
    return Layer({key: value for key, value in layer.values.items() if key != PROFILE}, layer.places)


def _merged(layers: Iterable[Layer]) -> Layer:
    merged = Layer()
    for layer in layers:
        values = _expanded(layer.values)
        if _other_algorithm(merged.values, values):
            merged.values.pop("algorithm")  # settings of one algorithm mean nothing to another
        _lay_over(merged.values, values, (), layer)
        merged.places.update(layer.places)
    return merged


def _expanded(values: Mapping[str, Any]) -> dict[str, Any]:
    """Sections given as a plain value (`actors: 16`) or left empty (`run:`), as mappings."""
    expanded = _filled(values, Config)
    for name, value in values.items():
        if name in SHORTHANDS and isinstance(value, str | int | float) and not isinstance(value, bool):
            expanded[name] = {SHORTHANDS[name]: value}
    return {name: {} if name == "algorithm" and value is None else value for name, value in expanded.items()}


def _filled(value: Any, annotation: Any) -> Any:
    """A section without any key, `limiter:`, is None in YAML; here it is an empty mapping. `Model | None` may stay None."""
    model, named = section_model(annotation), named_section_model(annotation)
    if value is None and ((model and model is annotation) or named):
        return {}
    if not isinstance(value, Mapping):
        return value
    inner = {name: field.annotation for name, field in model.model_fields.items()} if model else {}
    return {key: _filled(one, inner.get(key, named)) for key, one in value.items()}


def _other_algorithm(below: Mapping[str, Any], above: Mapping[str, Any]) -> bool:
    old, new = below.get("algorithm"), above.get("algorithm")
    if not isinstance(old, Mapping) or not isinstance(new, Mapping) or "name" not in new:
        return False
    return bool(new["name"] != old.get("name", "sac"))


def _lay_over(below: dict[str, Any], above: Mapping[str, Any], path: KeyPath, layer: Layer) -> None:
    """Merge mappings key by key, in place; anything else replaces what was there."""
    for key, value in above.items():
        here = (*path, key)
        old = below.get(key)
        if isinstance(old, list) and isinstance(value, Mapping):
            name = ".".join(map(str, here))
            raise ConfigError(f"{layer.places[here]}: {name} is a list: give it whole, {name}=[...]")
        if isinstance(value, Mapping):
            inner = below[key] = dict(old) if isinstance(old, Mapping) else {}
            _lay_over(inner, value, here, layer)
        else:
            below[key] = value


def _checked(merged: Layer) -> Config:
    try:
        return Config.model_validate(merged.values)
    except ValidationError as error:
        lines = described(error, merged.values, merged.places)
    if len(lines) == 1:
        raise ConfigError(lines[0])
    raise ConfigError(f"{len(lines)} mistakes in the configuration:\n" + "\n".join(f"  {line}" for line in lines))


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_plain(inner) for inner in value]
    return value
