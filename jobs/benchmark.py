"""Speed and accuracy measured, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/benchmark.py WHAT [KEY=VALUE]...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["bench", *sys.argv[1:]])
