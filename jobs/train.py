"""Clips to a bundle, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/train.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["train", *sys.argv[1:]])
