"""What became of a run? Writes RUN/report.html, one self-contained page, and RUN/plots/*.png from what the run recorded.

Reads the run's folder alone: the run may be going on, stopped or copied from elsewhere.
"""

from sojourn.report.page import write_report

__all__ = ["write_report"]
