"""What does a learner hold of one shard? A link, the stream of its samples and the courier to it, each with a thread of its own."""

import threading

from replay.courier import Courier
from replay.facts import TableFacts
from replay.link import Link
from replay.sample_stream import SampleStream

FAREWELL_S = 2.0


class ShardConnection:
    """One shard's link with its two threads."""

    def __init__(self, link: Link, stream: SampleStream, courier: Courier) -> None:
        self.link = link
        self.stream = stream
        self.courier = courier
        self.schema_json = b""
        self.answered = False  # it has said once what it knows
        self.threads: list[threading.Thread] = []

    @property
    def is_expected(self) -> bool:
        """Whether it has yet to say what it knows, and is not known to be away."""
        return not self.answered and (self.link.connected or not self.link.tried)

    def leave(self, facts: TableFacts) -> None:
        """It has left the run with these counts: they stand, and nobody is to be reached."""
        self.answered = True
        self.stream.leave(facts)
        self.link.close()

    def close(self) -> None:
        """Say the last words, waiting shortly; first what was consumed, since leases end with the stream."""
        for end, thread in zip((self.courier.close, self.stream.close), self.threads, strict=True):
            end()
            thread.join(FAREWELL_S if self.link.connected else 0.0)
        self.link.close()
        for thread in self.threads:
            thread.join(FAREWELL_S)
