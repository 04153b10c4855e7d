"""The bundle asked about damaged landmarks, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/robustness.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["robustness", *sys.argv[1:]])
