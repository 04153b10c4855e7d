"""Score the bundle, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/evaluate.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["evaluate", *sys.argv[1:]])
