"""Environments are made by id or factory, and what a user gets wrong is said in one sentence."""

import logging

import gymnasium as gym
import numpy as np
import pytest

import sojourn
from sojourn.config import Config
from sojourn.config.schema import EnvironmentSettings
from sojourn.environments import describe, environment_version, make_environment, render_frame
from sojourn.errors import ConfigError, EnvironmentFault


def steps_of_an_episode(environment: gym.Env) -> int:
    environment.reset(seed=0)
    environment.action_space.seed(0)
    for count in range(1, 2_000):
        _, _, terminated, truncated, _ = environment.step(environment.action_space.sample())
        if terminated or truncated:
            return count
    raise AssertionError("the episode never ended")


@pytest.mark.parametrize(
    "name",
    ["Pendulum-v1", "sojourn.environments:sojourn/Catch-v0", "sojourn.environments.match:Match", "HalfCheetah-v5"],
    ids=["id", "module and id", "factory", "mujoco"],
)
def test_an_environment_is_made_by_id_or_factory_and_steps(name):
    environment = make_environment(EnvironmentSettings(id=name))
    observation, _ = environment.reset(seed=0)
    assert environment.observation_space.contains(observation)
    environment.close()


BROKEN = """
import gymnasium as gym, sys
class Bare(gym.Env): pass
class Stuck(Bare):
    observation_space = action_space = gym.spaces.Discrete(2)
    def close(self): raise OSError("it does not let go")
def unplugged(): raise RuntimeError("the robot is not plugged in")
def leaving(): sys.exit("no licence")
def wrapping(environment): raise KeyError("no such joint")
"""


@pytest.mark.parametrize(
    ("name", "wrappers", "said"),
    [
        ("unplugged", (), "RuntimeError: the robot is not plugged in .*broken_environments.py:7"),
        ("leaving", (), "SystemExit: no licence .*broken_environments.py:8"),
        ("Bare", (), "AttributeError: 'Bare' object has no attribute 'observation_space'"),
        ("Stuck", (), "close raised OSError: it does not let go .*broken_environments.py:6"),
        ("Stuck", ("broken_environments:wrapping",), "KeyError: 'no such joint' .*broken_environments.py:9"),
        ("unfinished:make", (), "SyntaxError: "),
        ("quitting:make", (), "SystemExit: 3"),
        (".:make", (), r"cannot import '\.'"),
        (":make", (), "cannot import ''"),
    ],
)
def test_whatever_a_users_code_raises_is_one_sentence_with_its_line(name, wrappers, said, tmp_path, monkeypatch):
    for module, text in (("broken_environments", BROKEN), ("unfinished", "def make(:"), ("quitting", "raise SystemExit(3)")):
        (tmp_path / f"{module}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    settings = EnvironmentSettings(id=name if ":" in name else f"broken_environments:{name}", wrappers=wrappers)
    with pytest.raises(EnvironmentFault, match=said):
        describe(settings, Config())


@pytest.mark.parametrize("name", ["Pendulum-v1", "gymnasium.envs.classic_control.pendulum:PendulumEnv"])
def test_max_episode_steps_ends_the_episodes_of_ids_and_factories(name):
    environment = make_environment(EnvironmentSettings(id=name, max_episode_steps=7))
    assert steps_of_an_episode(environment) == 7


def test_keyword_arguments_reach_the_environment():
    environment = make_environment(EnvironmentSettings(id="sojourn/Catch-v0", kwargs={"cells": 5, "cell_pixels": 1}))
    assert environment.observation_space.shape == (5, 5, 1)
    assert steps_of_an_episode(environment) == 4


def test_wrappers_apply_in_order_with_their_arguments():
    environment = make_environment(
        EnvironmentSettings(
            id="Pendulum-v1",
            wrappers=("gymnasium.wrappers:TimeLimit", "gymnasium.wrappers:RecordEpisodeStatistics"),
            wrapper_kwargs=({"max_episode_steps": 3}, {"buffer_length": 2}),
        )
    )
    assert isinstance(environment, gym.wrappers.RecordEpisodeStatistics)
    assert steps_of_an_episode(environment) == 3


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("HalfCheeta-v5", "HalfCheetah-v5"),
        ("halfcheetah-v5", "HalfCheetah-v5"),
        ("Pendulum-v9", "Pendulum-v1"),
        ("Pendulum", "Pendulum-v1"),
        ("sojourn/Cach-v0", "sojourn/Catch-v0"),
        ("nothing_like_it", "package.module:factory"),
        ("no_such_module:Thing-v0", "cannot import 'no_such_module'"),
        ("sojourn.environments.catch:Cash", "no callable 'Cash'"),
        ("sojourn.seeds:lane_seed", "refuses its kwargs"),
        ("gymnasium:make", "refuses its kwargs"),
    ],
)
def test_a_wrong_id_is_answered_with_what_was_meant(name, said):
    with pytest.raises(EnvironmentFault) as caught:
        make_environment(EnvironmentSettings(id=name))
    assert name in str(caught.value)
    assert said in str(caught.value)


def test_refused_keyword_arguments_are_named():
    with pytest.raises(EnvironmentFault, match=r"refuses its kwargs \{'cellz': 3\}"):
        make_environment(EnvironmentSettings(id="sojourn/Catch-v0", kwargs={"cellz": 3}))


def test_a_factory_that_gives_no_environment_is_refused():
    with pytest.raises(EnvironmentFault, match=r"gave RunSettings, not a gymnasium\.Env"):
        make_environment(EnvironmentSettings(id="sojourn.config.schema:RunSettings"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"wrappers": ("gymnasium.wrappers:NoSuch",)}, "NoSuch"),
        ({"wrappers": ("gymnasium.wrappers:TimeLimit",), "wrapper_kwargs": ({"speed": 3},)}, "cannot wrap"),
        ({"wrappers": ("builtins:repr",)}, "not a gymnasium.Env"),
        ({"wrappers": ("gymnasium.wrappers:TimeLimit",), "wrapper_kwargs": ({}, {})}, "2 entries for 1 wrappers"),
    ],
)
def test_a_wrapper_that_does_not_fit_is_refused(settings, said):
    with pytest.raises(ConfigError, match=said):
        make_environment(EnvironmentSettings(id="Pendulum-v1", **settings))


def test_mujoco_logs_its_warnings_and_writes_no_file(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)  # MuJoCo would write MUJOCO_LOG.TXT into the working folder
    environment = make_environment(EnvironmentSettings(id="HalfCheetah-v5"))
    environment.reset(seed=0)
    environment.unwrapped.data.qpos[:] = np.nan
    with caplog.at_level(logging.WARNING):
        environment.step(environment.action_space.sample())
    assert "simulation is unstable" in caplog.text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["Pendulum-v1", "sojourn/Catch-v0", "sojourn.environments.match:Match"])
def test_a_frame_can_be_had_without_a_screen(name, monkeypatch):
    monkeypatch.delenv("DISPLAY", raising=False)
    environment = make_environment(EnvironmentSettings(id=name), render=True)
    environment.reset(seed=0)
    frame = render_frame(environment)
    assert frame.dtype == np.uint8
    assert frame.shape[2] == 3
    assert frame.max() > frame.min()
    environment.close()


@pytest.mark.filterwarnings("ignore:.*render method:UserWarning")
def test_an_environment_made_without_rendering_says_that_it_has_no_frames():
    environment = make_environment(EnvironmentSettings(id="Pendulum-v1"))
    environment.reset(seed=0)
    with pytest.raises(EnvironmentFault, match="no video of Pendulum-v1"):
        render_frame(environment)


def test_an_id_that_is_out_of_date_is_made_without_a_word(recwarn):
    make_environment(EnvironmentSettings(id="HalfCheetah-v4")).close()
    assert [str(warning.message) for warning in recwarn] == []


def test_an_environment_names_the_package_that_holds_it_and_its_version():
    assert environment_version("Pendulum-v1") == f"gymnasium {gym.__version__}"
    assert environment_version("sojourn/Catch-v0") == f"sojourn {sojourn.__version__}"
    assert environment_version("a_file_of_mine:make_robot") == "a_file_of_mine"
