"""How does a run look while it goes on? A live panel in a terminal, a plain line every few seconds anywhere else.

Writes to standard output; asks nobody. What is shown comes from `Progress` alone.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sojourn.config import Config
from sojourn.monitor import Evaluation, Progress
from sojourn.readable import count, number, rate, seconds, share

LINE_EVERY_S = 5.0


class Display:
    """Shows records as they come. Use as a context; call `show` once a second.

    heading: the line above, for example the run's folder.  hint: the line below, what a key does.
    """

    def __init__(self, config: Config, heading: str, hint: str = "", console: Console | None = None) -> None:
        self._config, self._heading, self._hint = config, heading, hint
        self._console = console or Console(soft_wrap=not sys.stdout.isatty())
        self._live = Live(console=self._console, auto_refresh=False) if self._console.is_terminal else None
        self._last_line_s = -LINE_EVERY_S
        self._evaluation: Evaluation | None = None

    def show(self, record: Progress) -> None:
        if self._live:
            self._live.update(panel(rows(record, self._config), self._heading, self._hint), refresh=True)
            return
        if record.elapsed_s - self._last_line_s >= LINE_EVERY_S - 0.5 or record.evaluation != self._evaluation:
            self._console.print(line(record, self._config), markup=False, highlight=False)
            self._last_line_s, self._evaluation = record.elapsed_s, record.evaluation

    def say(self, sentence: str) -> None:
        """A sentence above the panel, or on a line of its own."""
        self._console.print(sentence, markup=False, highlight=False)

    def __enter__(self) -> "Display":
        if self._live:
            self._live.start()
            self._live.update(panel([("time", "starting")], self._heading, self._hint), refresh=True)
        else:
            self.say("  ".join(text for text in (self._heading, self._hint) if text))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._live:
            self._live.stop()


def line(record: Progress, config: Config) -> str:
    """One record as one line."""
    parts = [
        f"{seconds(round(record.elapsed_s)):>10}",
        f"env steps {count(record.env_steps)} ({rate(record.env_steps_per_s)})",
        f"updates {count(record.learner_step)} ({rate(record.updates_per_s)})",
        f"return {number(record.training_return)}",
        f"evaluation {_evaluation(record, config)}",
        f"replay {count(record.replay_items)}",
        f"lag {number(record.policy_lag)}",
        f"restarts {sum(record.restarts.values())}",
    ]
    return "  ".join(parts)


def panel(pairs: Sequence[tuple[str, str]], heading: str, hint: str) -> Group:
    """Pairs of name and text as a screen."""
    grid = Table.grid(padding=(0, 2))
    grid.add_column(style="bold")
    for name, text in pairs:
        grid.add_row(name, text)
    return Group(Text(heading, style="bold cyan"), grid, Text(hint, style="dim"))


def rows(record: Progress, config: Config) -> list[tuple[str, str]]:
    """One record as pairs of name and text."""
    wanted = f"{count(record.env_steps)} of {count(config.run.env_steps)}"
    fill = f"{count(record.replay_items)} of {count(record.replay_capacity_items)} items"
    lasting = f"half within {seconds(record.duration_p50_s)}, 99 % within {seconds(record.duration_p99_s)}"
    return [
        ("time", seconds(round(record.elapsed_s))),
        ("env steps", f"{wanted}   {rate(record.env_steps_per_s)}   {count(record.episodes)} episodes"),
        ("updates", f"{count(record.learner_step)}   {rate(record.updates_per_s)}   waiting {share(record.sample_wait_share)}"),
        ("return", f"training {number(record.training_return)}   evaluation {_evaluation(record, config)}"),
        ("replay", f"{fill}   oldest {seconds(record.replay_oldest_s)}   mean age {seconds(record.replay_age_s)}"),
        ("policy", f"version {count(record.policy_version)}   lag {number(record.policy_lag)} versions"),
        ("actions", f"{lasting}   running long {record.running_actions}"),
        ("roles", f"{_roles(record)}   restarts {sum(record.restarts.values())}"),
    ]


def _evaluation(record: Progress, config: Config) -> str:
    """ "-214 +- 30 (best -180, expected -200)"."""
    expected = config.run.expected_return
    hoped = "" if expected is None else f"expected {number(expected)}"
    if record.evaluation is None:
        return f"- ({hoped})" if hoped else "-"
    reached = f"{number(record.evaluation.return_mean)} +- {number(record.evaluation.return_std)}"
    notes = [f"best {number(record.evaluation.return_best)}", *([hoped] if hoped else [])]
    return f"{reached} ({', '.join(notes)})"


def _roles(record: Progress) -> str:
    """ "actor 4/4  learner 1/1": how many of each answer."""
    said, up = Counter(map(kind_of, record.roles)), Counter(kind_of(name) for name, is_up in record.roles.items() if is_up)
    return "  ".join(f"{kind} {up[kind]}/{number}" for kind, number in said.items()) or "none"


def kind_of(role: str) -> str:
    """ "actor-slow-3" is an actor."""
    return role.partition("-")[0]
