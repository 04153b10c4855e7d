"""Several recognisers that answer together, trained, on a cluster:

ray job submit --working-dir . --runtime-env jobs/runtime_env.yaml -- python jobs/ensemble.py CONFIG...
"""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["ensemble", *sys.argv[1:]])
