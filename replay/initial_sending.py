"""From `replay.initial` to rows in the tables: opens the source, holds it against the run's schema, sends it and says so. Blocks.

The launcher does it for its run. Where nobody launches, the first shard does (`python -m replay`): it outlives every client, and its durable
tier remembers what was sent.
"""

import logging
import threading

from replay.initial import Beginning, load_initial
from replay.initial_record import Records
from replay.initial_source import initial_source
from sojourn.config import Config
from sojourn.environments import describe
from sojourn.errors import UnavailableError
from sojourn.roles import ReplayShards

LOG = logging.getLogger("sojourn.replay.initial")


def send_initial(config: Config, records: Records, shards: ReplayShards, stop: threading.Event) -> None:
    """Send what is not stored yet; returns when all is, or `stop` is set. Raises as `load_initial`, ConfigError for a source that does not fit."""
    name = config.replay.initial
    source, schema = initial_source(name), describe(config.environment, config)
    source.check(schema)
    if source.lacks_durations:
        LOG.warning(
            "%s tells no durations: each of its actions counts as %g s (duration.time_unit_s)", name, config.duration.time_unit_s
        )
    beginning = Beginning(name, source, schema, shards.addresses, shards.taking, "", config.duration.time_unit_s, stop)
    LOG.info("%s is sent to the replay service", name)
    try:
        record = load_initial(records, beginning)
    except UnavailableError:
        if not stop.is_set():
            raise
    else:
        state = "in" if record.finished else "looked at, and the rest is left to the next start"
        LOG.info("%d steps of %s are %s", record.steps, name, state)


def may_lack_initial(config: Config, records: Records) -> bool:
    """Whether a run with `replay.initial` may not have all of it yet. At level `memory` only the service knows."""
    record = records.read()
    return record is None or not record.finished or config.replay.durability == "memory"
