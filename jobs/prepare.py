"""Landmarks to clips, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/prepare.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["prepare", *sys.argv[1:]])
