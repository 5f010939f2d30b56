"""The report's page: summary, figures, evaluations, configuration, versions; HTML without any file beside it. Writes files."""

import html
import io
from collections.abc import Mapping
from pathlib import Path
from string import Template

import matplotlib
from matplotlib.figure import Figure

from sojourn.config.load import shown_config
from sojourn.diagnosis import diagnose, told
from sojourn.durable_files import replace_durably
from sojourn.monitor.sums import quantile
from sojourn.readable import count, number, seconds
from sojourn.report.duration_figures import DURATION_FIGURES
from sojourn.report.figures import FIGURES, Draw
from sojourn.report.history import History, read_history

INK = "#0b0c0d"
"""Colour of text and axes in the figures; on the page it becomes the page's own, light or dark."""

_STYLE = {
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
}

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { color-scheme: light dark; --ink: #1f2328; --paper: #ffffff; --faint: #8883; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6edf3; --paper: #0d1117; } }
body { color: var(--ink); background: var(--paper); font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; } th, td { text-align: left; padding: .2rem 1rem .2rem 0; border-bottom: 1px solid var(--faint); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
pre { overflow-x: auto; background: var(--faint); padding: .8rem; font-size: 12px; } svg { max-width: 100%; height: auto; }
</style>
</head>
<body>
<h1>$title</h1>
$summary
$figures
$durations
$evaluations
<h2>Configuration</h2>
<details><summary>config.yaml</summary><pre>$configuration</pre></details>
<h2>Versions</h2>
<details><summary>versions.txt and git.json</summary><pre>$versions</pre></details>
</body>
</html>
"""
)


def write_report(run_folder: Path) -> Path:
    """Write RUN/report.html and RUN/plots/*.png, each replaced atomically. Returns the page's path.

    Raises ConfigError if the folder is no run.
    """
    history = read_history(run_folder)
    (run_folder / "plots").mkdir(exist_ok=True)
    with matplotlib.rc_context(_STYLE):
        drawn = _drawn(history, FIGURES, "h2")
        durations = _durations(history)
    page = _PAGE.substitute(
        title=html.escape(history.identity.name),
        summary=_summary(history),
        figures="\n".join(drawn) or "<p>Nothing was recorded yet.</p>",
        durations=durations,
        evaluations=_evaluations(history),
        configuration=html.escape(shown_config(history.config)),
        versions=html.escape(_text(run_folder / "git.json") + "\n\n" + _text(run_folder / "versions.txt")),
    )
    replace_durably(run_folder / "report.html", page)
    return run_folder / "report.html"


def _drawn(history: History, figures: Mapping[str, tuple[str, Draw]], heading_tag: str) -> list[str]:
    """The figures that there is something for, each also as a picture in RUN/plots."""
    drawn = []
    for name, (heading, draw) in figures.items():
        figure = draw(history)
        if figure is not None:
            replace_durably(history.path / "plots" / f"{name}.png", _picture(figure))
            drawn.append(f"<{heading_tag}>{heading}</{heading_tag}>\n{_inline(figure, name)}")
    return drawn


def _durations(history: History) -> str:
    """What `sojourn doctor` says, and its figures; nothing where nothing was recorded."""
    if not history.durations:
        return ""
    words = "\n".join(told(diagnose(history.durations[-1], history.config)))
    figures = "\n".join(_drawn(history, DURATION_FIGURES, "h3"))
    return f"<h2>Durations: started and learned from</h2>\n<pre>{html.escape(words)}</pre>\n{figures}"


def _summary(history: History) -> str:
    """What was run and what came of it, as a table of two columns."""
    config, last = history.config, history.last
    best = max((one["return_mean"] for one in history.evaluations), default=None)
    pairs = [
        ("environment", config.environment.id),
        ("algorithm", config.algorithm.name),
        ("seed", str(config.run.seed)),
        ("started", history.identity.created_at),
        ("commands", "; ".join(history.identity.commands)),
        ("best evaluation", number(best)),
        ("expected return", number(config.run.expected_return)),
    ]
    if last:
        durations = history.counts(lambda record: record.duration_counts)
        pairs += [
            ("environment steps", f"{last.env_steps:,}"),
            ("learner steps", f"{last.learner_step:,}"),
            ("time", seconds(history.active_s[-1])),
            (
                "action duration",
                f"half within {seconds(quantile(durations, 0.5))}, 99 % within {seconds(quantile(durations, 0.99))}",
            ),
            ("replay at the end", f"{count(last.replay_items)} of {count(last.replay_capacity_items)} items"),
            ("restarts of roles", ", ".join(f"{name} {times}" for name, times in last.restarts.items()) or "none"),
        ]
    pairs += [("videos", ", ".join(sorted(file.name for file in (history.path / "videos").glob("*.mp4"))) or "none")]
    return "<table>" + "".join(f"<tr><th>{name}</th><td>{html.escape(text)}</td></tr>" for name, text in pairs) + "</table>"


def _evaluations(history: History) -> str:
    if not history.evaluations:
        return "<h2>Evaluations</h2>\n<p>None yet.</p>"
    heads = ("env steps", "policy version", "episodes", "mean return", "standard deviation", "best so far")
    head = "".join(f'<th class="number">{name}</th>' for name in heads)
    body = "".join(
        "<tr>"
        + "".join(
            f'<td class="number">{text}</td>'
            for text in (
                f"{one['env_steps']:,}",
                str(one["policy_version"]),
                str(one["episodes"]),
                number(one["return_mean"]),
                number(one["return_std"]),
                "*" if one["best"] else "",
            )
        )
        + "</tr>"
        for one in history.evaluations
    )
    return f"<h2>Evaluations</h2>\n<table><tr>{head}</tr>{body}</table>"


def _inline(figure: Figure, name: str) -> str:
    """The figure as an <svg> element whose ink follows the page; names inside it are its own."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(text, format="svg", transparent=True, metadata={"Date": None})
    svg = text.getvalue()
    return svg[svg.index("<svg") :].replace(INK, "currentColor")


def _picture(figure: Figure) -> bytes:
    """The figure as PNG on white."""
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=150, facecolor="white")
    return picture.getvalue()


def _text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""
