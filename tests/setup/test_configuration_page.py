"""docs/configuration.md names every key of the configuration and no other, with the default that is in force."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import BaseModel

from sojourn.config import Config
from sojourn.config.algorithms import DqnSettings, PpoSettings, VTraceSettings
from sojourn.config.schema import ExtraColumn

PAGE = (Path(__file__).parents[2] / "docs" / "configuration.md").read_text()


def keys(section: BaseModel, prefix: str = "") -> Iterator[tuple[str, object]]:
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from keys(value, f"{prefix}{name}.")
        elif name == "tables":
            yield from keys(value["replay"], f"{prefix}tables.replay.")
        else:
            yield prefix + name, value


def written(value: object) -> str:
    """A default as the page writes it."""
    if value is None:
        return "none"
    if value in ("", (), {}):
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int) and value >= 1_000:
        return f"{value:_}"
    return f"{value:g}" if isinstance(value, float) else str(list(value)) if isinstance(value, tuple) else str(value)


OTHERS = (PpoSettings(), VTraceSettings(), DqnSettings())
DEFAULTS = {key: value for settings in OTHERS for key, value in keys(settings, "algorithm.")}
DEFAULTS |= dict(keys(Config()))  # of keys that several algorithms have, the default one's; of those of ppo and vtrace, vtrace's
ROWS = dict(re.findall(r"^\| `([a-z][\w.]*)` \| ([^|]*?) \|", PAGE, flags=re.MULTILINE))
OF_AN_EXTRA = set(ExtraColumn.model_fields)


def test_the_page_names_every_key_and_no_other():
    assert set(ROWS) - OF_AN_EXTRA == set(DEFAULTS)
    assert set(ROWS) >= OF_AN_EXTRA


@pytest.mark.parametrize("key", sorted(DEFAULTS))
def test_the_page_gives_the_default_in_force(key):
    assert ROWS[key] == written(DEFAULTS[key])
