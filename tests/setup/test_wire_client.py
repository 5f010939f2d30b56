"""A client of gRPC and Arrow alone can draw from a real service."""

from examples.wire_client import draw
from sojourn.bench.load.shards import Shards
from sojourn.bench.speed.inserting import Order, Writers, inserting
from sojourn.config import Config

STEPS = 256


def test_the_example_draws_a_batch_with_grpc_and_arrow_alone(tmp_path):
    table = {"capacity_steps": 10_000, "limiter": {"samples_per_insert": None, "min_size": 100}}
    config = Config.model_validate({"tables": {"replay": table}})
    with Shards(tmp_path, config) as shards:
        target = shards.each[0].address()
        with inserting(target, Writers("one")) as clients:
            clients.rate(Order(steps=STEPS))
        batch = draw(target, batch_size=8)
    assert batch.num_rows == 8
    assert {"info.key", "info.probability", "observation", "next_observation", "action", "reward"} <= set(batch.schema.names)
    keys = batch.column(batch.schema.get_field_index("info.key")).to_numpy()
    assert ((keys >= 1) & (keys <= STEPS)).all()
