"""Do durations bias what a run learns? Compares what was started with what was learned from, and says what to change. No room, no torch.

diagnose(record, config)      what the latest record of durations says, as a `Diagnosis`
told(diagnosis)               the same in words, line by line
"""

from sojourn.diagnosis.doctor import Diagnosis, diagnose
from sojourn.diagnosis.words import told

__all__ = ["Diagnosis", "diagnose", "told"]
