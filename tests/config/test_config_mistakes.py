"""Does every mistake in a configuration get one clear line: place, key, value, and what to write instead?"""

import pytest

from sojourn.config.keys import FOREIGN, known_keys
from sojourn.config.load import load_config
from sojourn.errors import ConfigError


def refusal(tmp_path, text, *overrides):
    """What is said about a file of that text, without the folder's name."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        load_config(path, overrides)
    return str(refused.value).replace(f"{tmp_path}/", "")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run:\n  env_stps: 5\n", "x.yaml:2: unknown key run.env_stps (value 5); did you mean run.env_steps?"),
        ("learner:\n  batch_size: 5\n", "x.yaml:1: unknown key learner (value {'batch_size': 5}); did you mean learners?"),
        ("learners:\n  n_step: 3\n", "x.yaml:2: unknown key learners.n_step (value 3); did you mean tables.replay.n_step?"),
        ("zzz: 1\n", "x.yaml:1: unknown key zzz (value 1); `sojourn config` lists every key"),
        ("\nactors:\n  replicas: many\n", "x.yaml:3: actors.replicas must be a whole number, got 'many'"),
        ("actors:\n  replicas: 1.5\n", "x.yaml:2: actors.replicas must be a whole number, got 1.5"),
        ("algorithm:\n  learning_rate: fast\n", "x.yaml:2: algorithm.learning_rate must be a number, got 'fast'"),
        ("evaluation:\n  video: maybe\n", "x.yaml:2: evaluation.video must be true or false, got 'maybe'"),
        ("network:\n  hidden: [64, x]\n", "x.yaml:2: network.hidden.1 must be a whole number, got 'x'"),
        ("network:\n  hidden: [64, 0]\n", "x.yaml:2: network.hidden.1 must be above 0, got 0"),
        ("run:\n  seed: true\n", "x.yaml:2: run.seed must be a whole number, got True"),
        ("run:\n  minutes: true\n", "x.yaml:2: run.minutes must be a number, got True"),
        ("algorithm:\n  discount: true\n", "x.yaml:2: algorithm.discount must be a number, got True"),
        ("network:\n  hidden: 64\n", "x.yaml:2: network.hidden must be a list, got 64"),
        ("run: 3\n", "x.yaml:1: run must be a section with keys of its own, got 3"),
        ("run:\n  name: [a]\n", "x.yaml:2: run.name must be text, got ['a']"),
        ("learners:\n  batch_size: 0\n", "x.yaml:2: learners.batch_size must be at least 1, got 0"),
        ("run:\n  env_steps: 0\n", "x.yaml:2: run.env_steps must be above 0, got 0"),
        ("run:\n  target_return: .nan\n", "x.yaml:2: run.target_return must be a finite number, got nan"),
        ("actors:\n  rollout: fast\n", "x.yaml:2: actors.rollout must be lockstep or asynchronous, got 'fast'"),
        ("learners:\n  device: gpu\n", "x.yaml:2: learners.device must be auto, cpu, cuda or cuda:N, got 'gpu'"),
        (
            "replay:\n  redis_url: localhost:6379\n",
            "x.yaml:2: replay.redis_url must be empty, or begin with redis://, rediss:// or unix://, got 'localhost:6379'",
        ),
        ("algorithm: sax\n", "x.yaml:1: unknown algorithm 'sax'; known: sac, dqn, vtrace, ppo; or give package.module:attribute"),
        (
            "algorithm: [sac]\n",
            "x.yaml:1: algorithm: must be a name or a section with keys of its own, got ['sac']",
        ),
        (
            "tables:\n  replay:\n    sampler: prioritized\n",
            "x.yaml:3: tables.replay.sampler: unknown sampler 'prioritized'; did you mean prioritised?",
        ),
        (
            "tables:\n  replay:\n    remover: oldest\n",
            "x.yaml:3: tables.replay.remover: unknown remover 'oldest'; known: fifo, lowest_priority, start_age, version_age; or give package.module:attribute",
        ),
        (
            "environment:\n  extras:\n    - name: cost\n      dtype: text\n",
            "x.yaml:4: environment.extras.0.dtype must be float32, float64, int64, int32, uint8 or bool, got 'text'",
        ),
    ],
)
def test_a_wrong_key_or_value_names_its_line_and_what_to_write(tmp_path, text, said):
    assert refusal(tmp_path, text) == said


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "tables:\n  replay:\n    capacity_steps: 100\n    limiter:\n      min_size: 2000\n",
            "x.yaml:5: tables.replay: limiter.min_size 2000 is above capacity_steps 100: no draw could ever be made",
        ),
        (
            "tables:\n  replay:\n    item: sequence\n    length: 8\n    burn_in: 8\n",
            "x.yaml:5: tables.replay: burn_in 8 must be below length 8",
        ),
        ("tables:\n  replay:\n    order: start\n", "x.yaml:3: tables.replay: order: start needs sampler: fifo, got prioritised"),
        (
            "learners:\n  table: online\n",
            "x.yaml:2: learners.table 'online' is not among tables: replay",
        ),
        (
            "tables:\n  replay:\n    limiter: {tolerance: 10}\n",
            "x.yaml:3: tables.replay.limiter.tolerance 10 is below one batch of 256: inserts and draws would wait for each other for ever",
        ),
        (
            "actors: 0\n",
            "x.yaml:1: actors.replicas is 0 and there is no other fleet: nothing would ever be inserted",
        ),
        (
            "learners:\n  replicas: 2\n  cuda_graphs: true\n",
            "x.yaml:3: learners.cuda_graphs captures no averages over ranks: write false, or learners.replicas: 1",
        ),
        (
            "lineage: full\nlearners:\n  replicas: 2\n",
            "x.yaml:1: lineage: full is for repeating the updates of one learner: write learners.replicas: 1, or lineage: manifest",
        ),
    ],
)
def test_an_impossible_combination_names_the_line_of_the_key_at_fault(tmp_path, text, said):
    assert refusal(tmp_path, text) == said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("learners.batch_size", "override learners.batch_size: write key=value, for example learners.batch_size=512"),
        ("=3", "override =3: write key=value, for example learners.batch_size=512"),
        ("learners..threads=3", "override learners..threads=3: write key=value, for example learners.batch_size=512"),
        ("actors=many", "override actors=many: actors.replicas must be a whole number, got 'many'"),
        ("learners.steps=", "override learners.steps=: learners.steps must be a whole number, got ''"),
        ("run.seed=[1", "override run.seed=[1: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("profile=nowhere.yaml", "override profile=nowhere.yaml: there is no profile 'nowhere.yaml' (nowhere.yaml); known: "),
    ],
)
def test_a_wrong_override_is_quoted(tmp_path, override, said):
    assert refusal(tmp_path, "", override).startswith(said)


def test_an_override_into_a_list_says_how_to_give_the_list(tmp_path):
    text = "environment:\n  wrappers: ['a:b']\n"
    assert refusal(tmp_path, text, "environment.wrappers.0=c:d") == (
        "override environment.wrappers.0=c:d: environment.wrappers is a list: give it whole, environment.wrappers=[...]"
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("run: [1\n", "x.yaml:2: not YAML: expected ',' or ']', but got '<stream end>'"),
        ("- 1\n", "x.yaml:1: a configuration is a mapping of sections, got a list"),
        ("run:\n  seed: 1\n  seed: 2\n", "x.yaml:3: run.seed is given twice"),
        ("environment:\n  kwargs: &a\n    b: *a\n", "x.yaml:2: an anchor contains itself"),
        ("run:\n  seed: " + 60 * "[" + 60 * "]", "x.yaml:2: more than 50 lists or mappings lie in each other"),
        (5_000 * "[", "x.yaml: more than 50 lists or mappings lie in each other"),
        ("? [a, b]\n: 1\n", "x.yaml:1: a key is a word, got a list"),
        ("run: {seed: !!python/object:os.system 1}\n", "x.yaml:1: '1' cannot be read: could not determine a constructor"),
        ("run: {name: \x07}\n", "x.yaml: not YAML: unacceptable character #x0007: special characters are not allowed"),
    ],
)
def test_text_that_is_no_configuration_is_refused_at_its_line(tmp_path, text, said):
    assert refusal(tmp_path, text).startswith(said)


def test_every_mistake_is_listed_at_once_in_the_order_of_the_file(tmp_path):
    text = "learners:\n  threads: x\n  batchsize: 1\nactors:\n  replicas: -1\nrun:\n  sed: 1\n"
    assert refusal(tmp_path, text, "gamma=0.9").splitlines() == [
        "5 mistakes in the configuration:",
        "  x.yaml:2: learners.threads must be a whole number, got 'x'",
        "  x.yaml:3: unknown key learners.batchsize (value 1); did you mean learners.batch_size?",
        "  x.yaml:5: actors.replicas must be at least 0, got -1",
        "  x.yaml:7: unknown key run.sed (value 1); did you mean run.seed?",
        "  override gamma=0.9: unknown key gamma (value 0.9); here it is algorithm.discount",
    ]


def test_a_mistake_in_a_profile_names_the_profile(tmp_path):
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "gpu.yaml").write_text("learners:\n  devise: cuda\n")
    said = refusal(tmp_path, "profile: gpu\n")
    assert said == "profiles/gpu.yaml:2: unknown key learners.devise (value 'cuda'); did you mean learners.device?"


def test_a_missing_file_names_those_beside_it(tmp_path):
    (tmp_path / "pendulum.yaml").write_text("")
    with pytest.raises(ConfigError) as refused:
        load_config(tmp_path / "pendulm.yaml", [])
    assert str(refused.value) == f"{tmp_path}/pendulm.yaml: there is no such file; in {tmp_path} there are pendulum.yaml"


@pytest.mark.parametrize(
    ("foreign", "algorithm", "ours"),
    [
        ("lr", "sac", "here it is algorithm.learning_rate"),
        ("tau", "sac", "here it is algorithm.target_update_rate"),
        ("tau", "dqn", "here it is algorithm.target_update_every"),
        ("buffer_size", "sac", "here it is tables.replay.capacity_steps"),
        ("batch_size", "sac", "did you mean learners.batch_size?"),
        ("seed", "sac", "did you mean run.seed?"),
        ("device", "sac", "did you mean learners.device?"),
        ("total_timesteps", "sac", "here it is run.env_steps"),
        ("num_actors", "sac", "here it is actors.replicas"),
        (
            "utd_ratio",
            "sac",
            "here it is tables.replay.limiter.samples_per_insert "
            "(in samples per inserted item: batch size times updates per environment step)",
        ),
        ("eps", "dqn", "here it is algorithm.exploration_end"),
    ],
)
def test_a_name_used_elsewhere_is_answered_with_ours(tmp_path, foreign, algorithm, ours):
    said = refusal(tmp_path, "", f"algorithm={algorithm}", f"{foreign}=3")
    assert said == f"override {foreign}=3: unknown key {foreign} (value 3); {ours}"


def test_every_foreign_name_leads_to_a_key_that_exists():
    known = {*known_keys({}), *known_keys({"algorithm": {"name": "dqn"}})}
    targets = {target.format(table="tables.replay") for ours in FOREIGN.values() for target in ours}
    assert targets <= known


def test_names_of_tables_and_fleets_take_part_in_suggestions(tmp_path):
    text = "actors:\n  fleets:\n    slow:\n      replcas: 2\n"
    assert refusal(tmp_path, text) == (
        "x.yaml:4: unknown key actors.fleets.slow.replcas (value 2); did you mean actors.fleets.slow.replicas?"
    )
