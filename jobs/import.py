"""Landmark files to landmarks, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/import.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["import", *sys.argv[1:]])
