"""`replay_world` can be imported by the tests of this folder: lanes that write rows whose every value can be foreseen, and a slow model."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
