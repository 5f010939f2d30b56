"""Is what must stay secret starred wherever a configuration or command is shown?"""

import pytest

from sojourn.config.load import load_config, shown_config
from sojourn.config.masking import starred, without_secrets


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("replay.redis_url=redis://me:hunter2@host:6379/0", "replay.redis_url=redis://me:***@host:6379/0"),
        ("redis://:hunter2@host", "redis://:***@host"),
        ("redis://host:6379", "redis://host:6379"),
        ("environment.kwargs.api_key=abc", "environment.kwargs.api_key=***"),
        ("environment.kwargs.access_token=abc", "environment.kwargs.access_token=***"),
        ("run.seed=3", "run.seed=3"),
    ],
)
def test_secrets_in_text_are_starred(text, shown):
    assert without_secrets(text) == shown


def test_secrets_are_starred_at_any_depth():
    values = {"a": {"password": "x", "urls": ["redis://a:b@c", 3]}, "secrets": {"list": ["kept"]}, "token": ""}
    assert starred(values) == {
        "a": {"password": "***", "urls": ["redis://a:***@c", 3]},
        "secrets": {"list": ["kept"]},
        "token": "",
    }


def test_a_shown_configuration_hides_what_the_environment_is_given():
    assert "hunter2" not in shown_config(load_config(None, ["environment.kwargs.password=hunter2"]))
