"""How does a run fare? Scrapes every announced role once a second into one `Progress` record.

    Monitor(run_folder).run(stop, on_progress)     scrape, record in progress.jsonl and tb/, call back; until `stop`
    Monitor(run_folder).read()                     one record
    read_progress(run_folder)                      what was recorded
    read_durations(run_folder)                     what was recorded of durations (duration.jsonl)
    read_evaluations, latest_evaluation            what the evaluator found

Blocks on HTTP with short deadlines; needs no room and no torch.
"""

from sojourn.monitor.durations import DurationRecord
from sojourn.monitor.loop import Monitor
from sojourn.monitor.progress import Evaluation, Progress
from sojourn.monitor.recorder import latest_evaluation, read_durations, read_evaluations, read_progress

__all__ = [
    "DurationRecord",
    "Evaluation",
    "Monitor",
    "Progress",
    "latest_evaluation",
    "read_durations",
    "read_evaluations",
    "read_progress",
]
