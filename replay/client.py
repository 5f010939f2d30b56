"""The one door of replay for actors, learners, the launcher and the command line: connections, and what they hand out.

Actors use `ActorConnection`, learners `LearnerConnection`, everybody `service_info`. Nothing here starts a service.
"""

from replay.actor_connection import ActorConnection
from replay.archived_items import ArchivedItems
from replay.cutting import Wanted
from replay.exported import ExportedRows, exported_rows
from replay.facts import ReplayFacts, TableFacts
from replay.heartbeat import LaneCounts, Pace, RunningAction
from replay.learner_connection import LearnerConnection
from replay.manifest import LearnerLife, PublishedVersion, TrainedBatch, lineage_folder
from replay.manifest_reading import Manifest
from replay.manifest_writer import ManifestWriter
from replay.open_table import OpenTable, open_table
from replay.origins import origins
from replay.placement import shard_for
from replay.service_info import ClientInfo, ServiceInfo, TableInfo, service_info
from replay.spill import SpillSettings
from replay.weighting import Weighting

__all__ = [
    "ActorConnection",
    "ArchivedItems",
    "ClientInfo",
    "ExportedRows",
    "LaneCounts",
    "LearnerConnection",
    "LearnerLife",
    "Manifest",
    "ManifestWriter",
    "OpenTable",
    "Pace",
    "PublishedVersion",
    "ReplayFacts",
    "RunningAction",
    "ServiceInfo",
    "SpillSettings",
    "TableFacts",
    "TableInfo",
    "TrainedBatch",
    "Wanted",
    "Weighting",
    "exported_rows",
    "lineage_folder",
    "origins",
    "open_table",
    "service_info",
    "shard_for",
]
