"""Does a learner get the batches, facts and weights that it should from real services, and do its priorities arrive?"""

import threading
from collections.abc import Callable
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from replay.client import LearnerConnection
from sojourn.config import Config
from sojourn.environments import read_extras, schema_of
from sojourn.errors import ContractError, DeadlineError, ValidationError
from sojourn.experience import PriorityUpdate, Segment
from sojourn.metrics import Metrics
from tests.waiting import DEADLINE_S, eventually

MakeSegment = Callable[..., Segment]
ITEMS = 64
FIFO = {"sampler": "fifo", "consume": True, "capacity_steps": 4_096, "limiter": {"min_size": 1, "samples_per_insert": None}}


def fill(service: Any, make_segment: MakeSegment, client_id: str = "actor-0", lane: int = 0) -> None:
    """One closed episode: as many items as steps."""
    actor = service.actor(client_id)
    actor.insert(make_segment(lane, 0, steps=ITEMS, closed=True))
    assert actor.drain(DEADLINE_S)
    actor.close()


@pytest.fixture
def learner(service: Any, make_segment: MakeSegment):
    fill(service, make_segment)
    connection = service.learner()
    yield connection
    connection.close()


def test_a_batch_holds_the_steps_that_were_inserted(learner: LearnerConnection):
    batch = learner.sample(DEADLINE_S)

    sequence = batch.columns["observation"][:, 1]
    assert len(batch) == 16
    assert batch.columns["next_observation"][:, 1].tolist() == (sequence + 1).tolist()
    assert batch.columns["reward"][:, 0].tolist() == sequence.tolist()
    assert batch.columns["observation"][:, 0].tolist() == [0.0] * 16
    assert batch.columns["mask"].all()


def test_facts_of_a_draw_are_those_of_the_table(learner: LearnerConnection):
    info = learner.sample(DEADLINE_S).info

    assert info.table_items == ITEMS
    assert info.probability == pytest.approx([1 / ITEMS] * 16)
    assert info.duration_s == pytest.approx([0.01] * 16)
    assert (info.delay_s >= 0.01).all()
    assert (info.shard == 0).all()
    assert not info.redelivered.any()
    assert not info.draw_id.any()


def test_equal_priorities_weigh_exactly_one(learner: LearnerConnection):
    for _ in range(5):
        batch = learner.sample(DEADLINE_S)
        assert (batch.loss_weight == np.float32(1.0)).all()
        assert set(batch.factors) == {"priority", "duration"}


def test_new_priorities_change_what_is_drawn_and_how_it_weighs(service: Any, learner: LearnerConnection):
    """Priority exponent .6: an item of priority 10 among 63 of 1 has p = 10^.6 / (63 + 10^.6)."""
    key = learner.sample(DEADLINE_S).info.key[:1]
    everything = np.arange(1, ITEMS + 1, dtype=np.uint64)
    priority = np.where(everything == key, 10.0, 1.0).astype(np.float32)
    learner.update_priorities(PriorityUpdate("replay", everything, priority, np.zeros(ITEMS, np.uint32)))

    def drawn() -> Any:
        batch = learner.sample(DEADLINE_S)
        found = batch.info.key == key
        return batch if found.any() and batch.info.probability[found][0] > 0.02 else None

    batch = eventually(drawn)
    chosen = batch.info.key == key
    probability = 10**0.6 / (63 + 10**0.6)
    assert batch.info.probability[chosen] == pytest.approx(probability, rel=1e-5)
    assert batch.info.probability[~chosen] == pytest.approx((1 - probability) / 63, rel=1e-5)
    ratio = batch.loss_weight[chosen][0] / batch.loss_weight[~chosen][0]
    assert ratio == pytest.approx((10**0.6) ** -0.4, rel=1e-3)  # importance exponent .4


def test_updates_that_come_faster_than_they_travel_keep_the_latest(service: Any, learner: LearnerConnection):
    key = learner.sample(DEADLINE_S).info.key[:1]
    for priority in (1.0, 2.0, 3.0, 100.0):
        update = np.array([priority], np.float32)
        learner.update_priorities(PriorityUpdate("replay", key, update, np.zeros(1, np.uint32)))

    eventually(lambda: service.info().table("replay").facts.total_priority == pytest.approx(63 + 100**0.6, rel=1e-5))


def test_updates_of_items_that_are_gone_are_counted_as_late(service: Any, make_segment: MakeSegment):
    metrics = Metrics("learner")
    fill(service, make_segment)
    learner = service.learner(metrics=metrics)
    learner.update_priorities(PriorityUpdate("replay", np.array([1, 10_000], np.uint64), np.ones(2, np.float32), np.zeros(2)))

    name = "sojourn_learner_priority_updates_total"
    eventually(lambda: metrics.registry.get_sample_value(name, {"outcome": "late"}) == 1)
    assert metrics.registry.get_sample_value(name, {"outcome": "applied"}) == 1
    learner.close()


def test_no_batch_in_time_is_said_with_the_state_of_the_table(service: Any):
    learner = service.learner()

    with pytest.raises(DeadlineError, match=r"no batch of table 'replay' came within 0\.2 s: 0 items"):
        learner.sample(0.2)
    assert learner.waited_s == 0.0
    learner.close()


def test_the_schema_is_waited_for_until_an_actor_says_hello(service: Any):
    learner = service.learner()
    with pytest.raises(DeadlineError, match="no actor has said hello"):
        learner.schema(0.1)

    found = []
    waiting = threading.Thread(target=lambda: found.append(learner.schema(DEADLINE_S)))
    waiting.start()
    service.actor().close()
    waiting.join()

    assert found[0].action_columns()[0].shape == (1,)
    learner.close()


def test_facts_come_also_while_nothing_can_be_drawn(make_service: Any, make_segment: MakeSegment):
    limiter = {"min_size": 1_000, "samples_per_insert": None}
    service = make_service(tables={"replay": {"capacity_steps": 4_096, "limiter": limiter}})
    learner = service.learner()
    fill(service, make_segment)

    eventually(lambda: learner.facts().env_steps == ITEMS)
    assert (learner.facts().items, learner.facts().inserted_items, learner.facts().sampled_items) == (ITEMS, ITEMS, 0)
    learner.close()


def test_no_more_is_drawn_ahead_than_the_prefetch(service: Any, learner: LearnerConnection):
    batches = 7
    for _ in range(batches):
        learner.sample(DEADLINE_S)

    def drawn() -> int:
        return service.info().table("replay").facts.sampled_items

    eventually(lambda: drawn() >= (batches + 3) * 16)
    assert drawn() <= (batches + 4) * 16  # prefetch 4


def test_the_learner_step_reaches_actors(service: Any, learner: LearnerConnection):
    actor = service.actor("actor-1")
    learner.report(17)

    eventually(lambda: actor.pace().learner_step == 17)
    actor.close()


def test_the_learner_step_reaches_actors_although_news_of_shards_wakes_its_stream_all_the_time(
    service: Any, learner: LearnerConnection
):
    actor, heard = service.actor("actor-1"), threading.Event()

    def wake() -> None:
        while not heard.wait(0.1):
            with learner._arrived:
                learner._arrived.notify_all()

    waking = threading.Thread(target=wake)
    waking.start()
    eventually(lambda: learner.queued_batches == 4)  # its prefetch: there is nothing more to ask for
    learner.report(17)
    try:
        eventually(lambda: actor.pace().learner_step == 17, 10.0)
    finally:
        heard.set()
        waking.join()
    actor.close()


def test_two_learners_draw_from_one_table(service: Any, learner: LearnerConnection):
    other = service.learner("learner-1")

    assert len(learner.sample(DEADLINE_S)) == len(other.sample(DEADLINE_S)) == 16
    other.close()


def test_an_unknown_table_is_refused_with_the_known_ones(make_service: Any):
    service = make_service()
    learner = service.learner(table="other")

    with pytest.raises(ValidationError, match="unknown table 'other'"):
        learner.sample(DEADLINE_S)
    learner.close()


def test_another_run_is_refused(service: Any):
    learner = service.learner(run_id="another")

    with pytest.raises(ContractError, match="'another'"):
        learner.sample(DEADLINE_S)
    learner.close()


def test_a_service_that_comes_back_is_sampled_again(service: Any, learner: LearnerConnection, make_segment: MakeSegment):
    learner.sample(DEADLINE_S)
    service.stop()
    service.start()  # in memory: empty
    fill(service, make_segment, lane=3)

    assert eventually(lambda: (learner.sample(DEADLINE_S).columns["observation"][:, 0] == 3.0).all())


def test_consumed_batches_leave_and_others_come_again(make_service: Any, make_segment: MakeSegment):
    service = make_service(tables={"replay": FIFO})
    fill(service, make_segment)
    learner = service.learner()
    first, second = learner.sample(DEADLINE_S), learner.sample(DEADLINE_S)
    assert first.columns["reward"][:, 0].tolist() == list(range(16))  # in the order of completion

    learner.consumed(first)
    eventually(lambda: service.info().table("replay").facts.items + service.info().table("replay").leased_items == ITEMS - 16)
    learner.close()
    successor = service.learner()
    again = successor.sample(DEADLINE_S)

    assert again.info.key.tolist() == second.info.key.tolist()
    assert again.info.redelivered.all()
    assert successor.sample(DEADLINE_S).columns["reward"][0, 0] == 32.0
    successor.close()


@pytest.fixture
def two_shards(make_service: Any, make_segment: MakeSegment):
    shards = [make_service(), make_service()]
    for number, shard in enumerate(shards):
        fill(shard, make_segment, f"actor-{number}", lane=number)
    return shards


def test_two_shards_look_like_one_table(two_shards: list[Any]):
    """Item i of shard k gets priority (k + 1) i; all probabilities are then p^.6 over the sum of all 128."""
    learner = two_shards[0].learner(addresses=tuple(shard.address for shard in two_shards))
    keys = np.arange(1, ITEMS + 1, dtype=np.uint64)
    wanted = []
    for number in range(2):
        priority = ((number + 1) * keys).astype(np.float32)
        wanted.append(priority.astype(float) ** 0.6)
        learner.update_priorities(PriorityUpdate("replay", keys, priority, np.full(ITEMS, number, np.uint32)))
    total = np.sum(wanted)
    eventually(
        lambda: sum(shard.info().table("replay").facts.total_priority for shard in two_shards) == pytest.approx(total, rel=1e-4)
    )

    def settled() -> Any:
        batch = learner.sample(DEADLINE_S)
        literal = np.array([wanted[shard][key - 1] for shard, key in zip(batch.info.shard, batch.info.key, strict=True)]) / total
        return batch if np.allclose(batch.info.probability, literal, rtol=1e-4) else None

    batch = eventually(settled)
    assert batch.info.table_items == 2 * ITEMS
    assert (batch.columns["observation"][:, 0] == batch.info.shard).all()  # lane k lives on shard k
    share = wanted[1].sum() / total
    assert abs((batch.info.shard == 1).sum() - 16 * share) < 1.0
    assert learner.facts().env_steps == 2 * ITEMS
    learner.close()


def test_a_shard_that_is_gone_is_left_out_until_it_is_back(two_shards: list[Any], make_segment: MakeSegment):
    metrics = Metrics("learner")
    learner = two_shards[0].learner(addresses=tuple(shard.address for shard in two_shards), metrics=metrics)
    eventually(lambda: len(set(learner.sample(DEADLINE_S).info.shard.tolist())) == 2)

    two_shards[1].stop()
    eventually(lambda: metrics.registry.get_sample_value("sojourn_learner_shards_down") == 1)
    eventually(lambda: set(learner.sample(DEADLINE_S).info.shard.tolist()) == {0})
    assert metrics.registry.get_sample_value("sojourn_learner_shards_left_out_total") >= 1

    two_shards[1].start()
    fill(two_shards[1], make_segment, "actor-1", lane=1)
    eventually(lambda: set(learner.sample(DEADLINE_S).info.shard.tolist()) == {0, 1})
    learner.close()


def test_samples_of_all_shards_together_stay_below_the_ratio(make_service: Any, make_segment: MakeSegment):
    """The services here have no limiter of their own; the learner's side of the ratio is what holds."""
    shards = [make_service(), make_service()]
    for number, shard in enumerate(shards):
        fill(shard, make_segment, f"actor-{number}")
    table = shards[0].config.tables["replay"]
    limited = table.model_copy(update={"limiter": table.limiter.model_copy(update={"samples_per_insert": 1.0})})
    learner = shards[0].learner(addresses=tuple(shard.address for shard in shards), table_settings=limited)

    def exhaust() -> None:
        while True:
            learner.sample(1.0)

    with pytest.raises(DeadlineError):
        exhaust()
    sampled = sum(shard.info().table("replay").facts.sampled_items for shard in shards)
    assert sampled <= 2 * ITEMS + 2 * 4 * 16  # one prefetch a shard may have been granted before the first facts came
    learner.close()


def test_an_extra_column_declared_by_configuration_alone_arrives(make_service: Any, make_segment: MakeSegment):
    config = Config.model_validate(
        {
            "environment": {
                "id": "Pendulum-v1",
                "extras": [
                    {"name": "cost", "shape": [2]},
                    {"name": "source", "dtype": "int64", "scope": "episode"},
                    {"name": "notes", "dtype": "int32", "ragged_max": 4},
                ],
            }
        }
    )
    schema = schema_of(gym.make("Pendulum-v1"), config, config.environment)
    steps = [read_extras(config.environment, {"cost": [i, -i], "source": 7, "notes": [i] * (i % 3)}) for i in range(ITEMS)]
    extras = {name: np.stack([step[name] for step in steps]) for name in ("cost", "source")}
    extras["notes"] = np.empty(ITEMS, object)
    extras["notes"][:] = [step["notes"] for step in steps]
    observation = {"observation": np.zeros((ITEMS + 1, 3), np.float32)}
    service = make_service()
    actor = service.actor(schema=schema)
    actor.insert(make_segment(0, 0, steps=ITEMS, closed=True, observation=observation, extras=extras))
    assert actor.drain(DEADLINE_S)
    learner = service.learner()

    batch = learner.sample(DEADLINE_S)

    number = batch.columns["reward"][:, 0].astype(int)
    assert batch.columns["cost"][:, 0].tolist() == [[i, -i] for i in number]
    assert batch.columns["source"].ravel().tolist() == [7] * 16
    lengths = batch.columns["notes.length"].ravel()
    assert lengths.tolist() == [i % 3 for i in number]
    learner.close()
    actor.close()
