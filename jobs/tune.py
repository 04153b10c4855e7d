"""Search settings, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/tune.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["tune", *sys.argv[1:]])
