"""Videos and images to landmarks, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/extract.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
