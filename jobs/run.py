"""The whole line, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/run.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["run", *sys.argv[1:]])
