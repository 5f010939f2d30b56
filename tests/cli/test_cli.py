"""Does every command do what it says, and does a user's mistake end as one message with the right exit code?"""

import io
import os
import subprocess
import sys

import pytest
import yaml
from rich.console import Console
from typer.testing import CliRunner

import sojourn as package
from sojourn.cli.app import app
from sojourn.cli.display import Display, line
from sojourn.config.load import load_config
from sojourn.launcher.control import Asked, take_scale_request
from sojourn.monitor import Evaluation, Progress
from sojourn.monitor.recorder import Recorder
from sojourn.run_folder import create_run, driving

RECORD = Progress(
    time_s=1e9,
    elapsed_s=83.0,
    env_steps=12_345,
    env_steps_per_s=812.3,
    episodes=17,
    learner_step=2_100,
    updates_per_s=400.2,
    policy_version=40,
    training_return=-812.3,
    evaluation=Evaluation(3, 40, 10_000, -640.2, 30.1, -600.0),
    replay_items=12_345,
    replay_capacity_items=1_000_000,
    replay_oldest_s=40.0,
    replay_age_s=20.0,
    policy_lag=1.25,
    duration_p50_s=0.0012,
    duration_p99_s=0.0082,
    sample_wait_share=0.12,
    restarts={"actor-0": 1},
    roles={"actor-0": True, "actor-1": False, "learner-0": True},
)

UNKNOWN = "sojourn: unknown environment 'Pendulm-v1'; did you mean Pendulum-v1 or phys2d/Pendulum-v0 or InvertedPendulum-v5?\n"


def new_run(**overrides):
    return create_run(load_config(None, [f"{key}={value}" for key, value in overrides.items()]), ["sojourn", "train"])


def test_the_help_names_every_command_and_starts_quickly():
    code = (
        "import sys, time; began = time.process_time(); from sojourn.cli import main; sys.argv = ['sojourn', '--help']\n"
        "try: main()\nexcept SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mujoco', 'gymnasium', 'matplotlib', 'numba', 'pyarrow'} & set(sys.modules)\n"
        "print(time.process_time() - began, sorted(heavy), file=sys.stderr)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for command in ("train", "status", "top", "scale", "eval", "resume", "report", "export", "lineage", "config", "list"):
        assert f"  {command} " in ended.stdout
    seconds, heavy = ended.stderr.split(" ", 1)
    assert heavy.strip() == "[]"
    assert float(seconds) < 1.0  # processor time, so that a busy machine does not matter


def test_the_installed_program_says_its_version():
    program = os.path.join(os.path.dirname(sys.executable), "sojourn")
    ended = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
    assert ended.stdout == f"sojourn {package.__version__}\n"


def test_completion_is_offered_for_the_shell(monkeypatch):
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")  # whatever shell the tests are started from
    shown = CliRunner().invoke(app, ["--show-completion", "bash"])
    assert shown.exit_code == 0
    assert "COMPLETE=complete_bash" in shown.stdout


def test_config_prints_every_key_and_no_password(here, sojourn):
    (here / "x.yaml").write_text("actors: 4\nreplay:\n  redis_url: redis://me:hunter2@host:6379\n")
    code, out, err = sojourn("config", "x.yaml", "run.seed=9")
    printed = yaml.safe_load(out)
    assert (code, err) == (0, "")
    assert (printed["actors"]["replicas"], printed["run"]["seed"]) == (4, 9)
    assert printed["replay"]["redis_url"] == "redis://me:***@host:6379"


def test_config_without_a_file_prints_the_defaults(here, sojourn):
    code, out, _ = sojourn("config", "actors=3")
    assert (code, yaml.safe_load(out)["actors"]["replicas"]) == (0, 3)


def test_config_takes_a_profile(here, sojourn):
    (here / "profiles").mkdir()
    (here / "profiles" / "big.yaml").write_text("learners:\n  threads: 8\n")
    (here / "x.yaml").write_text("learners:\n  threads: 2\n")
    _, out, _ = sojourn("config", "x.yaml", "--profile", "big")
    assert yaml.safe_load(out)["learners"]["threads"] == 8


@pytest.mark.parametrize(("target", "algorithm"), [("CartPole-v1", "dqn"), ("Pendulum-v1", "sac"), ("sojourn/Catch-v0", "dqn")])
def test_an_environment_id_alone_gets_an_algorithm_that_fits_its_actions(here, sojourn, target, algorithm):
    _, out, _ = sojourn("config", target)
    printed = yaml.safe_load(out)
    assert (printed["environment"]["id"], printed["algorithm"]["name"]) == (target, algorithm)


def test_a_factory_is_found_in_the_folder_where_the_command_is_given(here, sojourn):
    (here / "beside_the_user.py").write_text("import gymnasium\ndef make():\n    return gymnasium.make('CartPole-v1')\n")
    code, out, err = sojourn("config", "beside_the_user:make")
    assert (code, err) == (0, "")
    assert yaml.safe_load(out)["algorithm"]["name"] == "dqn"


def test_list_prints_one_name_a_line(sojourn):
    code, out, _ = sojourn("list", "algorithms")
    assert code == 0
    assert [text.split()[0] for text in out.splitlines()] == ["sac", "dqn", "vtrace", "ppo"]
    assert "sojourn/Catch-v0\n" in sojourn("list", "envs", "catch")[1]
    assert [text.split()[0] for text in sojourn("list", "samplers")[1].splitlines()] == ["prioritised", "uniform", "fifo"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("config", "tau=3"), 2, "sojourn: override tau=3: unknown key tau (value 3); here it is algorithm.target_update_rate\n"),
        (("config", "nowhere.yaml"), 2, "sojourn: nowhere.yaml: there is no such file; in . there are x.yaml\n"),
        (("train", "Pendulm-v1"), 3, UNKNOWN),
        (
            ("train", "x.yaml", "environment=Pendulm-v1"),
            3,
            UNKNOWN,
        ),
        (
            ("train", "actors=2"),
            2,
            "sojourn: give a configuration file or an environment id before actors=2, for example configs/pendulum.yaml\n",
        ),
        (
            ("train", "x.yaml", "--serial", "--address", "auto"),
            2,
            "sojourn: --serial runs in this process alone: leave out --address auto\n",
        ),
        (("status",), 2, "sojourn: there is no run in runs/ yet: start one with `sojourn train configs/pendulum.yaml`\n"),
        (("eval", "nothing"), 2, "sojourn: there is no run 'nothing'\n"),
        (("resume", "nothing"), 2, "sojourn: there is no run 'nothing'\n"),
    ],
)
def test_a_mistake_is_one_message_and_leaves_nothing_behind(here, sojourn, arguments, code, said):
    (here / "x.yaml").write_text("")
    assert sojourn(*arguments) == (code, "", said) or (
        arguments[:2] == ("train", "x.yaml") and sojourn(*arguments)[0::2] == (code, said)
    )
    assert not list(here.glob("runs/*"))


def test_an_unknown_option_is_a_usage_error(sojourn):
    code, _, err = sojourn("train", "x.yaml", "--actors", "3")
    assert code == 2
    assert "No such option" in err


def test_status_of_a_stopped_run_is_its_last_record(here, sojourn):
    path = new_run(**{"run.expected_return": -200})
    with Recorder(path) as recorder:
        recorder.keep(RECORD)
    (path / "evaluations.jsonl").write_text(
        '{"policy_version": 30, "env_steps": 9000, "return_mean": -600, "return_std": 40.0}\n'
        '{"policy_version": 40, "env_steps": 12000, "return_mean": -640.2, "return_std": 30.1}\n'
    )
    code, out, _ = sojourn("status")
    assert code == 0
    for said in (
        f"{path}  stopped  Pendulum-v1 sac",
        "12,345 of 1 M",
        "training -812.3",
        "evaluation -640.2 +- 30.1 (best -600, expected -200)",
        "oldest 40 s",
        "lag 1.25 versions",
        "half within 1.2 ms, 99 % within 8.2 ms",
        "roles      none   restarts 1",
    ):
        assert said in out


def test_status_of_a_running_run_asks_its_roles(here, sojourn, start):
    path = new_run()
    with Recorder(path) as recorder:
        recorder.keep(RECORD)
    start(path, "replay-0").gauge("sojourn_replay_env_steps").set(54_321)
    with driving(path):
        _, out, _ = sojourn("status", str(path))
    assert "running" in out
    assert "54,321 of 1 M" in out
    assert "restarts 1" in out  # only the launcher can have counted them
    assert f"{os.getpid()}@" in out


def test_status_before_the_first_record_says_so(here, sojourn):
    path = new_run()
    assert sojourn("status")[1] == f"{path}: stopped, nothing recorded yet\n"


def test_top_follows_a_running_run_in_plain_lines(here, sojourn, start):
    path = new_run()
    start(path, "replay-0").gauge("sojourn_replay_env_steps").set(777)
    with driving(path):
        code, out, _ = sojourn("top", "--seconds", "0.2")
    assert code == 0
    assert "env steps 777" in out


def test_top_of_a_stopped_run_shows_its_last_record(here, sojourn):
    path = new_run()
    with Recorder(path) as recorder:
        recorder.keep(RECORD)
    code, out, _ = sojourn("top")
    assert code == 0
    assert f"{path} is not running" in out
    assert "12,345 of 1 M" in out


def test_scale_asks_the_launcher_of_a_running_run(here, sojourn):
    path = new_run()
    with driving(path):
        code, out, _ = sojourn("scale", "actors=16")
    assert (code, take_scale_request(path)) == (0, Asked({"": 16}))
    assert "actors=16" in out


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("actors=many", "actors must be a whole number, got 'many'"),
        ("actors=1.5", "actors must be a whole number, got '1.5'"),
        ("actors.fleets.slow=2", "cannot scale 'actors.fleets.slow': this run has actors"),
        ("actors", "override actors: write key=value"),
    ],
)
def test_scale_refuses_what_the_run_does_not_have(here, sojourn, wanted, said):
    path = new_run()
    with driving(path):
        code, _, err = sojourn("scale", wanted)
    assert code == 2
    assert err.startswith(f"sojourn: {said}")


def test_scale_of_a_stopped_run_says_how_to_start_it(here, sojourn):
    path = new_run()
    assert sojourn("scale", "actors=2") == (
        2,
        "",
        f"sojourn: {path} is not running: `sojourn resume {path} actors=2` starts it with that many\n",
    )


def test_a_second_launcher_is_refused(here, sojourn):
    path = new_run()
    with driving(path):
        code, _, err = sojourn("resume")
    assert (code, err) == (2, f"sojourn: {path} is being driven by process {os.getpid()}: stop that one first\n")


def test_report_writes_the_page_and_says_where(here, sojourn):
    path = new_run()
    assert sojourn("report") == (0, f"{path}/report.html\n", "")
    assert (path / "report.html").exists()


def test_eval_plays_the_best_policy_and_prints_every_return(here, sojourn):
    from sojourn.algorithms import build_policy
    from sojourn.environments import make_environment, schema_of

    path = new_run(environment="sojourn/Match-v0", **{"network.hidden": "[8]"})
    config = load_config(path / "config.yaml", [])
    environment = make_environment(config.environment)
    folder = path / "checkpoints" / "best-7"
    folder.mkdir(parents=True)
    (folder / "policy.safetensors").write_bytes(build_policy(config, schema_of(environment, config, config.environment)).dump())
    (path / "checkpoints" / "best").symlink_to("best-7")

    code, out, _ = sojourn("eval", "--episodes", "3")
    assert code == 0
    assert [text.split()[:2] for text in out.splitlines()[1:4]] == [["episode", "0"], ["episode", "1"], ["episode", "2"]]
    assert out.splitlines()[4].startswith("return ")
    assert sojourn("eval", "--episodes", "3")[1].splitlines()[:4] == out.splitlines()[:4]  # the same seed
    for named in (str(folder), folder.name, str(folder / "policy.safetensors")):
        assert sojourn("eval", "--checkpoint", named, "--episodes", "1")[0] == 0
    (folder / "policy.safetensors").write_bytes(b"not a policy")
    code, _, err = sojourn("eval")
    assert code > 0
    assert err.startswith("sojourn: ")


def test_eval_without_a_checkpoint_names_what_there_is(here, sojourn):
    path = new_run(environment="sojourn/Match-v0")
    assert sojourn("eval", "--checkpoint", "latest")[::2] == (6, f"sojourn: {path} has no checkpoint yet\n")
    assert sojourn("eval")[::2] == (6, f"sojourn: best is no checkpoint with a policy; checkpoints of {path}: none yet\n")


def test_a_line_says_what_is_reached_beside_what_is_expected():
    said = line(RECORD, load_config(None, ["run.expected_return=-200"]))
    assert said == (
        "1 min 23 s  env steps 12,345 (812/s)  updates 2,100 (400/s)  return -812.3  "
        "evaluation -640.2 +- 30.1 (best -600, expected -200)  replay 12,345  lag 1.25  restarts 1"
    )


def shown(terminal, elapsed):
    """What a display writes for records that many seconds into a run."""
    console = Console(file=io.StringIO(), force_terminal=terminal, width=200)
    with Display(load_config(None, []), "runs/x", "Ctrl-C", console) as display:
        for elapsed_s in elapsed:
            display.show(Progress(0.0, float(elapsed_s)))
    return console.file.getvalue()


def test_outside_a_terminal_a_plain_line_appears_every_five_seconds():
    lines = shown(False, range(12)).splitlines()
    assert lines[0] == "runs/x  Ctrl-C"
    assert [text.split("  env")[0].strip() for text in lines[1:]] == ["0 s", "5 s", "10 s"]


def test_in_a_terminal_a_panel_is_drawn_anew():
    text = shown(True, range(2))
    assert "\x1b[" in text
    assert "policy lag" not in text
    assert "env steps" in text
