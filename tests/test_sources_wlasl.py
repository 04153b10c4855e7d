"""WLASL's lists over the videos that are there, and the account of those that are not."""

import json
from collections import Counter

import pytest
from made_clips import write_video

from raysign import config, pipeline, store
from raysign.errors import SourceError
from raysign.extract.frames import Video
from raysign.sources import detect, wlasl
