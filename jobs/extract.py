"""Videos and images to landmarks, on a cluster: ray job submit --working-dir . -- python jobs/extract.py CONFIG..."""

import sys

from raysign.cli import main

if __name__ == "__main__":
    main(["extract", *sys.argv[1:]])
