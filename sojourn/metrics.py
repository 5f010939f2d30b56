"""Every Prometheus series that Sojourn exports, in one list, and the endpoint that serves them.

A role makes one `Metrics(role)`; it holds exactly the series that `SERIES` lists for that role, in a registry of its own.
Labels come from small fixed sets. docs/metrics.md describes each series; a test compares both ways against live roles.
"""

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from sojourn.errors import ConfigError

Kind = Literal["counter", "gauge", "histogram"]
PORTS_TRIED = 1_000
Role = Literal["replay", "parameters", "actor", "evaluator", "learner"]

LATENCY_S = (0.0001, 0.0003, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
DURATION_S = (0.0001, 0.001, 0.01, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
AGE_S = (0.1, 1.0, 10.0, 60.0, 300.0, 1_000.0, 3_600.0, 10_000.0, 36_000.0)
LAG_VERSIONS = (0, 1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
END_KINDS = ("completed", "killed", "failed", "aborted", "crashed")
ODD_KINDS = ("end_without_start", "two_ends", "never_ended", "odd_age", "zero_duration", "window_back", "clock_back")


@dataclass(frozen=True)
class Series:
    """One exported series. Counters are named without `_total`, which the client library adds."""

    name: str
    kind: Kind
    roles: tuple[Role, ...]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = LATENCY_S


SERIES: tuple[Series, ...] = (
    # every role
    Series(
        "sojourn_up_since_seconds",
        "gauge",
        ("replay", "parameters", "actor", "evaluator", "learner"),
        "Unix time at which this life of the role began.",
    ),
    # replay
    Series(
        "sojourn_replay_env_steps",
        "gauge",
        ("replay",),
        "Accepted, de-duplicated environment steps of the run on this shard, over restarts.",
    ),
    Series(
        "sojourn_replay_retired",
        "gauge",
        ("replay",),
        "1 while the shard is retired: no new lives of actors, items leave by age.",
    ),
    Series(
        "sojourn_replay_episodes", "gauge", ("replay",), "Accepted ends of episodes and truncations on this shard, over restarts."
    ),
    Series("sojourn_replay_learner_step", "gauge", ("replay",), "Highest learner step that a learner has reported."),
    Series(
        "sojourn_replay_inserts",
        "counter",
        ("replay",),
        "Insert messages answered, by outcome: accepted, duplicate, refused.",
        labels=("outcome",),
    ),
    Series("sojourn_replay_inserted_steps", "counter", ("replay",), "Environment steps accepted since this life began."),
    Series("sojourn_replay_insert_bytes", "counter", ("replay",), "Bytes of accepted chunks."),
    Series(
        "sojourn_replay_insert_seconds",
        "histogram",
        ("replay",),
        "From an Insert message's arrival until its acknowledgement was handed to the stream.",
    ),
    Series(
        "sojourn_replay_commit_seconds",
        "histogram",
        ("replay",),
        "Time of one durable group commit, waits for an absent server included.",
    ),
    Series(
        "sojourn_replay_commit_messages",
        "counter",
        ("replay",),
        "Messages made durable in group commits; by the number of commits it is the size of a group.",
    ),
    Series("sojourn_replay_packed_chunks", "counter", ("replay",), "Small chunks of the durable tier that were put together."),
    Series(
        "sojourn_replay_pack_seconds",
        "histogram",
        ("replay",),
        "Time to read small chunks, make a pack of them and exchange them.",
    ),
    Series("sojourn_replay_waiting_bytes", "gauge", ("replay",), "Bytes of messages that were read and are not durable yet."),
    Series("sojourn_replay_message_gaps", "counter", ("replay",), "Insert messages that came before their predecessors."),
    Series(
        "sojourn_replay_lane_gaps",
        "gauge",
        ("replay",),
        "Times that a lane went on behind missing rows; no item spans such a gap.",
    ),
    Series(
        "sojourn_replay_fenced",
        "counter",
        ("replay",),
        "Insert streams or messages refused because a newer life had replaced theirs.",
    ),
    Series("sojourn_replay_samples", "counter", ("replay",), "Items drawn and sent, by table.", labels=("table",)),
    Series("sojourn_replay_batches", "counter", ("replay",), "Batches drawn and sent, by table.", labels=("table",)),
    Series("sojourn_replay_sample_bytes", "counter", ("replay",), "Bytes of sample messages."),
    Series("sojourn_replay_sample_seconds", "histogram", ("replay",), "Time to draw, gather and encode one sample message."),
    Series(
        "sojourn_replay_sample_wait_seconds",
        "counter",
        ("replay",),
        "Time that learners with credits waited for items or the limiter, by table.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_insert_wait_seconds",
        "counter",
        ("replay",),
        "Time that inserts waited for a table's limiter, by table.",
        labels=("table",),
    ),
    Series("sojourn_replay_priority_updates", "counter", ("replay",), "Priorities applied, by table.", labels=("table",)),
    Series(
        "sojourn_replay_late_updates",
        "gauge",
        ("replay",),
        "Priority updates whose item was gone, by table, over restarts.",
        labels=("table",),
    ),
    Series("sojourn_replay_items", "gauge", ("replay",), "Drawable items, by table.", labels=("table",)),
    Series(
        "sojourn_replay_capacity_items", "gauge", ("replay",), "Items that a table holds at most, by table.", labels=("table",)
    ),
    Series(
        "sojourn_replay_evicted_items",
        "gauge",
        ("replay",),
        "Items ever removed for room, by table, over restarts.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_expired_items",
        "gauge",
        ("replay",),
        "Items ever removed at the table's horizon of start age or policy version, by table, over restarts.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_class_items",
        "gauge",
        ("replay",),
        "Items of a table by their actors' pool and speed class, over restarts: that came, that were lost (evicted, expired or too "
        "late), and the undrawn ones of the lost.",
        labels=("table", "pool", "speed_class", "fate"),
    ),
    Series(
        "sojourn_replay_late_items",
        "gauge",
        ("replay",),
        "Items that were beyond the table's horizon, or too stale, when they came, and never entered; by table, over restarts.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_leased_items",
        "gauge",
        ("replay",),
        "Items drawn from a consuming table and not consumed yet, by table.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_redelivered_items",
        "gauge",
        ("replay",),
        "Items that were drawn again after a lost lease, by table, over restarts.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_limiter_surplus",
        "gauge",
        ("replay",),
        "(inserts - min_size) x samples_per_insert - samples, by table.",
        labels=("table",),
    ),
    Series(
        "sojourn_replay_item_age_seconds",
        "gauge",
        ("replay",),
        "Mean age of a table's items since they were drawable.",
        labels=("table",),
    ),
    Series("sojourn_replay_oldest_item_seconds", "gauge", ("replay",), "Age of a table's oldest item.", labels=("table",)),
    Series("sojourn_replay_item_duration_seconds", "gauge", ("replay",), "Mean duration of a table's items.", labels=("table",)),
    Series("sojourn_replay_slab_rows", "gauge", ("replay",), "Rows held in memory."),
    Series("sojourn_replay_slab_bytes", "gauge", ("replay",), "Memory of the slab."),
    Series("sojourn_replay_durable_bytes", "gauge", ("replay",), "Bytes of chunks that the durable tier holds."),
    Series(
        "sojourn_replay_durable_up",
        "gauge",
        ("replay",),
        "1 while the durable tier answers and has room, or none is wanted; else 0.",
    ),
    Series(
        "sojourn_replay_durable_restarts",
        "gauge",
        ("replay",),
        "Times that the embedded server had ended and was started again.",
    ),
    Series(
        "sojourn_replay_reappended_chunks",
        "gauge",
        ("replay",),
        "Chunks appended again because the durable tier had lost them.",
    ),
    Series(
        "sojourn_replay_corrupted_chunks", "gauge", ("replay",), "Stored chunks that were found damaged at start-up and left out."
    ),
    Series(
        "sojourn_replay_snapshot_seconds",
        "histogram",
        ("replay",),
        "Time to take and write one snapshot of priorities and counters.",
    ),
    Series("sojourn_replay_snapshot_bytes", "counter", ("replay",), "Bytes of snapshots written."),
    Series(
        "sojourn_replay_cut_seconds", "histogram", ("replay",), "Time to cut all tables for a checkpoint, until that is durable."
    ),
    Series(
        "sojourn_replay_archive_seconds",
        "histogram",
        ("replay",),
        "Time to write one file of the archive of rows (lineage: full).",
    ),
    Series("sojourn_replay_archived_rows", "counter", ("replay",), "Rows written to the archive (lineage: full)."),
    Series(
        "sojourn_replay_archive_waiting_bytes", "gauge", ("replay",), "Bytes of chunks that wait to be archived (lineage: full)."
    ),
    Series("sojourn_replay_recovery_seconds", "gauge", ("replay",), "Time that reading everything back took at start-up."),
    Series("sojourn_replay_recovering", "gauge", ("replay",), "1 while everything is read back at start-up, else 0."),
    Series("sojourn_replay_streams", "gauge", ("replay",), "Open streams, by call: insert, heartbeat, sample.", labels=("call",)),
    Series("sojourn_replay_clients", "gauge", ("replay",), "Clients that have said hello, by role.", labels=("client_role",)),
    Series("sojourn_replay_actions_started", "gauge", ("replay",), "Actions begun, as actors report, over restarts."),
    Series(
        "sojourn_replay_actions_ended",
        "gauge",
        ("replay",),
        "Actions ended, as actors report, by end kind, over restarts.",
        labels=("kind",),
    ),
    Series("sojourn_replay_logged_starts", "gauge", ("replay",), "Starts of actions that the start log remembers."),
    Series(
        "sojourn_replay_odd_actions",
        "gauge",
        ("replay",),
        "Reports of actions that cannot be, counted and left out, by kind: end_without_start, two_ends, never_ended (lost with its"
        " actor), odd_age, zero_duration, window_back, clock_back (an actor's clock was set back while an action ran).",
        labels=("kind",),
    ),
    Series("sojourn_replay_running_actions", "gauge", ("replay",), "Actions that have run for more than 100 ms."),
    Series("sojourn_replay_oldest_action_seconds", "gauge", ("replay",), "Age of the action that has run longest, 0 if none."),
    Series("sojourn_replay_windows", "gauge", ("replay",), "Collection windows that have ended, over pools and restarts."),
    Series(
        "sojourn_replay_window_dispersion",
        "gauge",
        ("replay",),
        "Variance over mean of the actions that end in a window: near 0 where a count of results closes it; NaN with few windows.",
    ),
    Series(
        "sojourn_replay_expected_actions",
        "gauge",
        ("replay",),
        "Draws of the learners' table by duration, had nothing been lost: the Kaplan-Meier law of all starts (fifo tables), or of the"
        " starts of the table's span at each draw. `bucket` is the upper bound in seconds.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_replay_expected_labels",
        "gauge",
        ("replay",),
        "The same by discrete action and by task; what gave no row has no label.",
        labels=("kind", "label"),
    ),
    # parameters
    Series("sojourn_parameters_version", "gauge", ("parameters",), "Latest policy version, 0 before the first publication."),
    Series("sojourn_parameters_publishes", "counter", ("parameters",), "Publications that were made durable."),
    Series("sojourn_parameters_refused", "counter", ("parameters",), "Publications that were refused or could not be kept."),
    Series("sojourn_parameters_published_bytes", "counter", ("parameters",), "Bytes of tensors in publications."),
    Series(
        "sojourn_parameters_publish_seconds", "histogram", ("parameters",), "From a publication's first byte until it is durable."
    ),
    Series("sojourn_parameters_watchers", "gauge", ("parameters",), "Streams that follow the parameters now."),
    Series("sojourn_parameters_sent_versions", "counter", ("parameters",), "Versions sent, over all watchers."),
    Series(
        "sojourn_parameters_skipped_versions",
        "counter",
        ("parameters",),
        "Versions that watchers did not see because a newer one had overtaken them.",
    ),
    # actors
    Series("sojourn_actor_env_steps", "counter", ("actor",), "Environment steps that have a row: completed and killed actions."),
    Series("sojourn_actor_episodes", "counter", ("actor",), "Episodes that ended by themselves or by a killed action."),
    Series(
        "sojourn_actor_return_mean", "gauge", ("actor",), "Mean return of this actor's last 100 episodes, exploration included."
    ),
    Series("sojourn_actor_episode_length_mean", "gauge", ("actor",), "Mean length of this actor's last 100 episodes, in steps."),
    Series(
        "sojourn_actor_turn_seconds", "histogram", ("actor",), "Time of one pass of the rollout: inference, environments, rows."
    ),
    Series("sojourn_actor_inference_seconds", "histogram", ("actor",), "Time of one batched choice of actions."),
    Series(
        "sojourn_actor_action_duration_seconds",
        "histogram",
        ("actor",),
        "Duration of actions that have a row, on the clock of duration.clock.",
        buckets=DURATION_S,
    ),
    Series("sojourn_actor_actions_started", "counter", ("actor",), "Actions handed to an environment."),
    Series("sojourn_actor_actions_ended", "counter", ("actor",), "Actions that ended, by end kind.", labels=("kind",)),
    Series("sojourn_actor_running_actions", "gauge", ("actor",), "Actions that have run for more than 100 ms."),
    Series("sojourn_actor_oldest_action_seconds", "gauge", ("actor",), "Age of the action that has run longest, 0 if none."),
    Series("sojourn_actor_slot_restarts", "counter", ("actor",), "Environments made anew after a fault, a crash or a kill."),
    Series("sojourn_actor_policy_version", "gauge", ("actor",), "Version of the parameters that choose the actions now."),
    Series("sojourn_actor_policy_age_seconds", "gauge", ("actor",), "Time since the parameters in use were published."),
    Series("sojourn_actor_credit_wait_seconds", "counter", ("actor",), "Time that starts waited for the admission gate."),
    Series("sojourn_actor_insert_blocked_seconds", "counter", ("actor",), "Time that handing over a segment took or waited."),
    Series("sojourn_actor_inserts_sent", "counter", ("actor",), "Insert messages sent, resends included."),
    Series("sojourn_actor_insert_sent_bytes", "counter", ("actor",), "Bytes of rows in Insert messages, resends included."),
    Series(
        "sojourn_actor_inserts_acknowledged",
        "counter",
        ("actor",),
        "Insert messages acknowledged, by outcome: accepted, duplicate, refused.",
        labels=("outcome",),
    ),
    Series(
        "sojourn_actor_insert_ack_seconds", "histogram", ("actor",), "From sending an Insert message until its acknowledgement."
    ),
    Series(
        "sojourn_actor_unacknowledged_bytes",
        "gauge",
        ("actor",),
        "Experience in memory that the replay service has not acknowledged; what is on disk is counted by spill_file_bytes.",
    ),
    Series(
        "sojourn_actor_unacknowledged_messages",
        "gauge",
        ("actor",),
        "Insert messages that wait for their acknowledgement, in memory and in the spill file.",
    ),
    Series("sojourn_actor_spill_file_bytes", "gauge", ("actor",), "Size of this actor's spill file, 0 if there is none."),
    Series("sojourn_actor_spill_written_bytes", "counter", ("actor",), "Bytes of messages that went to spill files."),
    Series(
        "sojourn_actor_spill_damaged_records",
        "counter",
        ("actor",),
        "Places of spill files that were not what had been written; each is named in the log, and left out.",
    ),
    Series(
        "sojourn_actor_replay_sessions",
        "gauge",
        ("actor",),
        "Times that the replay service was reached: one more than reconnects.",
    ),
    # evaluator
    Series("sojourn_evaluator_return_mean", "gauge", ("evaluator",), "Mean return of the latest evaluation."),
    Series(
        "sojourn_evaluator_return_std", "gauge", ("evaluator",), "Standard deviation of the returns of the latest evaluation."
    ),
    Series("sojourn_evaluator_return_best", "gauge", ("evaluator",), "Highest mean return of an evaluation so far."),
    Series("sojourn_evaluator_episodes", "counter", ("evaluator",), "Episodes of evaluations."),
    Series("sojourn_evaluator_evaluations", "counter", ("evaluator",), "Evaluations that ended."),
    Series(
        "sojourn_evaluator_failed_evaluations",
        "counter",
        ("evaluator",),
        "Evaluations given up: an environment failed, or the result could not be written.",
    ),
    Series("sojourn_evaluator_policy_version", "gauge", ("evaluator",), "Policy version of the latest evaluation."),
    Series(
        "sojourn_evaluator_env_steps", "gauge", ("evaluator",), "Environment steps of the run when that version was published."
    ),
    Series("sojourn_evaluator_evaluation_seconds", "histogram", ("evaluator",), "Time of one evaluation.", buckets=DURATION_S),
    # learner: its connection to the replay service
    Series("sojourn_learner_sampled_batches", "counter", ("learner",), "Batches drawn."),
    Series("sojourn_learner_sampled_items", "counter", ("learner",), "Items in batches drawn."),
    Series("sojourn_learner_sample_wait_seconds", "counter", ("learner",), "Time that the learner waited for batches."),
    Series("sojourn_learner_prefetched_batches", "gauge", ("learner",), "Batches received ahead of use."),
    Series(
        "sojourn_learner_sampled_age_seconds",
        "histogram",
        ("learner",),
        "Time since items drawn were drawable; one item of every eighth batch.",
        buckets=AGE_S,
    ),
    Series(
        "sojourn_learner_sampled_delay_seconds",
        "histogram",
        ("learner",),
        "From the start of an item's last action until the item was drawable; one item of every eighth batch.",
        buckets=DURATION_S,
    ),
    Series(
        "sojourn_learner_sampled_duration_seconds",
        "histogram",
        ("learner",),
        "Duration of items drawn, summed over their steps; one item of every eighth batch.",
        buckets=DURATION_S,
    ),
    Series(
        "sojourn_learner_redelivered_items", "counter", ("learner",), "Items drawn that were leased before to a lost learner."
    ),
    Series(
        "sojourn_learner_weight_ess_share",
        "gauge",
        ("learner",),
        "Effective sample size of the latest batch's loss weights over its size.",
    ),
    Series(
        "sojourn_learner_weight_exponent",
        "gauge",
        ("learner",),
        "What loss weights are raised to: 1 unless learners.ess_floor binds; below 1 the weights are biased.",
    ),
    Series(
        "sojourn_learner_weight_error",
        "gauge",
        ("learner",),
        "Mean relative standard error of the duration weights of the latest batch, 0 where the rule estimates nothing.",
    ),
    Series("sojourn_learner_weights_capped", "counter", ("learner",), "Loss weights cut at duration.cap."),
    Series(
        "sojourn_learner_weights_repaired",
        "counter",
        ("learner",),
        "Loss weights that were negative or not finite and count as average ones.",
    ),
    Series(
        "sojourn_learner_priority_updates",
        "counter",
        ("learner",),
        "Priorities sent back, by outcome: applied, late (the item was gone), dropped (the shard was down too long).",
        labels=("outcome",),
    ),
    Series("sojourn_learner_shards_down", "gauge", ("learner",), "Replay shards that cannot be reached now."),
    Series(
        "sojourn_learner_shards_left_out", "counter", ("learner",), "Shards left out of batches because they were down or late."
    ),
    Series(
        "sojourn_learner_lineage_lost_updates",
        "gauge",
        ("learner",),
        "Updates of this life that are missing in the lineage because its disk refused them.",
    ),
    # learner: what it learned from, by duration and by label
    Series(
        "sojourn_learner_bucket_actions",
        "counter",
        ("learner",),
        "Actions learned from by duration; `bucket` is the upper bound in seconds.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_collected",
        "counter",
        ("learner",),
        "The same, each counting 1 / (items x probability): what the table holds, whatever the priorities.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_collected_squares",
        "counter",
        ("learner",),
        "Sum of the squares of these counts, for standard errors.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_weighted",
        "counter",
        ("learner",),
        "The same, each counting that times its factors of duration and pool: what is learned from after weighting.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_weighted_squares",
        "counter",
        ("learner",),
        "Sum of the squares of the weighted counts.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_measured",
        "counter",
        ("learner",),
        "Actions by duration that the four sums below are over: those of at most 16 batches a second.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_lag_versions",
        "counter",
        ("learner",),
        "Sum of policy lags by duration of the action.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_reward", "gauge", ("learner",), "Sum of rewards by duration of the action.", labels=("bucket",)
    ),
    Series(
        "sojourn_learner_bucket_td_error",
        "counter",
        ("learner",),
        "Sum of absolute TD errors by duration of the action.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_bucket_clipped_ratio",
        "counter",
        ("learner",),
        "Sum of min(1, policy / behaviour probability) by duration of the action; 0 where the algorithm has no such ratio.",
        labels=("bucket",),
    ),
    Series(
        "sojourn_learner_label_collected",
        "counter",
        ("learner",),
        "As bucket_collected, by discrete action and by task.",
        labels=("kind", "label"),
    ),
    Series(
        "sojourn_learner_label_weighted",
        "counter",
        ("learner",),
        "As bucket_weighted, by discrete action and by task.",
        labels=("kind", "label"),
    ),
    Series(
        "sojourn_learner_score_leak",
        "gauge",
        ("learner",),
        "n |mean score|^2 / trace of its covariance, weighted, over this life: about 1 where actions come as the policy chose them,"
        " alarming over 9; NaN for algorithms without a policy gradient on stored actions.",
    ),
    Series(
        "sojourn_learner_action_gap",
        "gauge",
        ("learner",),
        "Total variation between the weighted shares of a discrete action and the policy's own in the same states, over this life;"
        " NaN for other actions.",
    ),
    # learner
    Series("sojourn_learner_step", "gauge", ("learner",), "Updates over the life of the run: goes on after a resume."),
    Series("sojourn_learner_updates", "counter", ("learner",), "Updates of this life."),
    Series("sojourn_learner_skipped_updates", "counter", ("learner",), "Updates not applied: their gradients were not finite."),
    Series("sojourn_learner_env_steps", "gauge", ("learner",), "Environment steps of the run, as the replay service said last."),
    Series("sojourn_learner_policy_version", "gauge", ("learner",), "Newest policy version that this learner knows of."),
    Series(
        "sojourn_learner_policy_lag_versions",
        "histogram",
        ("learner",),
        "Newest policy version less the one that acted; one item a batch.",
        buckets=LAG_VERSIONS,
    ),
    Series(
        "sojourn_learner_update_seconds",
        "histogram",
        ("learner",),
        "Time of one update, the batch's way to the device included; on a GPU the time of handing it over.",
    ),
    Series("sojourn_learner_publications", "counter", ("learner",), "Policies handed to the parameter service."),
    Series(
        "sojourn_learner_publish_seconds",
        "histogram",
        ("learner",),
        "Time that handing over a policy kept the learner from learning.",
    ),
    Series("sojourn_learner_checkpoints", "counter", ("learner",), "Checkpoints written."),
    Series("sojourn_learner_checkpoint_failures", "counter", ("learner",), "Checkpoints that could not be written."),
    Series(
        "sojourn_learner_checkpoint_seconds", "histogram", ("learner",), "Time that a checkpoint kept the learner from learning."
    ),
    Series("sojourn_learner_checkpoint_step", "gauge", ("learner",), "Learner step of the newest checkpoint."),
    Series("sojourn_learner_critic_loss", "gauge", ("learner",), "Loss of the value networks, over the last second."),
    Series("sojourn_learner_actor_loss", "gauge", ("learner",), "Loss of the policy, over the last second; NaN without one."),
    Series("sojourn_learner_temperature_loss", "gauge", ("learner",), "Loss of SAC's temperature, over the last second."),
    Series("sojourn_learner_temperature", "gauge", ("learner",), "SAC's temperature."),
    Series("sojourn_learner_entropy", "gauge", ("learner",), "Entropy of the policy in units of [-1, 1] actions."),
    Series("sojourn_learner_q_mean", "gauge", ("learner",), "Mean prediction for the stored actions, over the last second."),
    Series("sojourn_learner_td_error", "gauge", ("learner",), "Mean absolute TD error, over the last second."),
    Series("sojourn_learner_critic_gradient_norm", "gauge", ("learner",), "Norm before clipping, over the last second."),
    Series("sojourn_learner_actor_gradient_norm", "gauge", ("learner",), "Norm before clipping, over the last second."),
    Series(
        "sojourn_learner_clipped_ratio",
        "gauge",
        ("learner",),
        "Mean of min(1, policy / behaviour probability) over the last second: 1 on policy.",
    ),
    Series("sojourn_learner_skipped", "gauge", ("learner",), "Share of the last second's updates that were not applied."),
    Series(
        "sojourn_learner_scalar",
        "gauge",
        ("learner",),
        "What an algorithm measures besides, by name, over the last second.",
        labels=("name",),
    ),
)


class Metrics:
    """The series of one role. `counter`, `gauge` and `histogram` return the series by name; asking for another raises KeyError."""

    def __init__(self, role: Role, registry: CollectorRegistry | None = None) -> None:
        self.role = role
        self.registry = registry or CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        for series in SERIES:
            if role in series.roles:
                self._make(series)
        self.gauge("sojourn_up_since_seconds").set_to_current_time()

    def _make(self, series: Series) -> None:
        match series.kind:
            case "counter":
                self._counters[series.name] = Counter(series.name, series.help, series.labels, registry=self.registry)
            case "gauge":
                self._gauges[series.name] = Gauge(series.name, series.help, series.labels, registry=self.registry)
            case "histogram":
                self._histograms[series.name] = Histogram(
                    series.name, series.help, series.labels, registry=self.registry, buckets=series.buckets
                )

    def counter(self, name: str) -> Counter:
        return self._counters[name]

    def gauge(self, name: str) -> Gauge:
        return self._gauges[name]

    def histogram(self, name: str) -> Histogram:
        return self._histograms[name]

    def serve(self, host: str, port: int) -> int:
        """Serve the registry over HTTP on a daemon thread. Returns the port.

        port: the first to try; a taken one is passed over for the next, so that the roles of one machine line up. 0: any free one.
        Raises ConfigError if the host is none of this machine, or the ports up to `PORTS_TRIED` further on are all taken.
        """
        for tried in range(port, min(port + PORTS_TRIED, 65_536)):
            try:
                server, _ = start_http_server(tried, addr=host, registry=self.registry)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise ConfigError(
                        f"metrics cannot be served at {host}:{tried}: {error.strerror}; change metrics.host"
                    ) from error
            else:
                server.handle_error = _broke_off  # type: ignore[method-assign]
                return int(server.server_port)
        raise ConfigError(f"metrics.port {port}: it and all that follow are taken; choose another, or 0 for any free one")


def _broke_off(request: object, client_address: object) -> None:
    """A reader of the endpoint went away in the middle, or spoke no HTTP: its own affair, of which socketserver prints a stack trace."""


def names_of(role: Role) -> Sequence[str]:
    """Names of the series that the role exports."""
    return [series.name for series in SERIES if role in series.roles]
