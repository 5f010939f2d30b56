"""What do replay shards that have left the run still count for? Reads RUN/shards.json; their last counts are theirs for ever."""

from collections.abc import Iterator
from pathlib import Path

from sojourn.monitor.scrape import Reading, Sample
from sojourn.roles import Announcement
from sojourn.shard_list import FinalCounts, read_shard_list


def gone_shards(run_folder: Path) -> dict[str, Reading]:
    """A reading of each by its name, as its endpoint would give it."""
    listed = read_shard_list(run_folder)
    names = {f"replay-{shard}": counts for shard, counts in (listed.gone if listed else {}).items()}
    return {name: Reading(Announcement(name, 0, ""), False, tuple(samples(told)), gone=True) for name, told in names.items()}


def samples(counts: FinalCounts) -> Iterator[Sample]:
    """The counts under the names of the shard's series."""
    yield Sample("sojourn_replay_env_steps", {}, counts.env_steps)
    yield Sample("sojourn_replay_episodes", {}, counts.episodes)
    yield Sample("sojourn_replay_learner_step", {}, counts.learner_step)
    yield Sample("sojourn_replay_actions_started", {}, counts.started)
    yield Sample("sojourn_replay_windows", {}, counts.windows)
    for kind, ended in counts.ended.items():
        yield Sample("sojourn_replay_actions_ended", {"kind": kind}, ended)
    for name, table in counts.tables.items():
        yield Sample("sojourn_replay_evicted_items", {"table": name}, table.evicted_items)
        yield Sample("sojourn_replay_expired_items", {"table": name}, table.expired_items)
        yield Sample("sojourn_replay_late_items", {"table": name}, table.late_items)
