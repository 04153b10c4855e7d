"""What every source of landmarks owes, whichever it is: each kind's sample is in `made_sources.samples`."""

from dataclasses import asdict
from json import dumps

import numpy as np
import pytest

from raysign.kinds import kind_module, kinds
from raysign.schema import ClipRef
from raysign.skeleton import layout

READERS = [kind for kind in kinds("source") if kind != "synthetic" and hasattr(kind_module("source", kind), "read")]


def test_every_kind_that_reads_landmarks_from_files_has_a_sample(made):
    assert sorted(made) == sorted(READERS)


@pytest.mark.parametrize("kind", READERS)
def test_a_sample_is_read_the_same_twice_with_unseen_points_as_nan(made, kind):
    module, options = kind_module("source", kind), made[kind]
    refs = module.clips(options)
    assert refs == module.clips(options)
    assert len({ref.id for ref in refs}) == len(refs)
    assert all(ref.gloss for ref in refs)
    for ref in refs:
        first, again = module.read(ref, options), module.read(ref, options)
        np.testing.assert_array_equal(first.values, again.values)
        np.testing.assert_array_equal(first.visibility, again.visibility)
        assert first.values.dtype == first.visibility.dtype == np.float32
        assert first.values.shape[2] == layout(first.layout).points
        seen = np.isfinite(first.values).all(-1)
        np.testing.assert_array_equal(seen, np.isfinite(first.values).any(-1))
        np.testing.assert_array_equal(seen, np.isfinite(first.visibility))
        features, others = (np.empty((0, 1)) if one.features is None else one.features for one in (first, again))
        np.testing.assert_array_equal(features, others)
        assert seen.any() or np.isfinite(features).all(1).any()
        assert ((first.visibility[seen] >= 0) & (first.visibility[seen] <= 1)).all()


@pytest.mark.parametrize("kind", READERS)
def test_a_clip_of_a_sample_can_be_sent_to_a_worker_as_json(made, kind):
    for ref in kind_module("source", kind).clips(made[kind]):
        assert ClipRef(**{**asdict(ref), "gloss": tuple(ref.gloss)}) == ref
        assert dumps(asdict(ref))


@pytest.mark.parametrize("kind", READERS)
def test_no_kind_takes_the_sample_of_another_for_its_own(made, kind):
    path = made[kind].path
    assert {other for other in kinds("source") if kind_module("source", other).recognises(path)} <= {kind}
