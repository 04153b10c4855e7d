"""raysign: videos and images of people signing, turned into trained, evaluated sign-language recognisers on Ray."""

import os

# Before any library starts its threads: threads that wait give their CPU away. They would spin, and on a machine with
# anything else to do each step of a training would take ten times as long.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

__version__ = "0.1.0"
