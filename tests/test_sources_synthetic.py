"""Made-up signers: the same every time, different from one another, and as hard to see as real ones."""

import numpy as np

from raysign.sources import synthetic

OPTIONS = synthetic.Options(glosses=4, signers=4, takes=2)  # pyright: ignore[reportCallIssue]
REFS = {ref.id: ref for ref in synthetic.clips(OPTIONS)}


def test_a_clip_is_the_same_every_time():
    ref = REFS["signer1/sign02/1"]
    first, again = synthetic.read(ref, OPTIONS), synthetic.read(ref, OPTIONS)
    assert first.values.tobytes() == again.values.tobytes()


def test_takes_signers_and_signs_differ():
    clips = [synthetic.read(REFS[name], OPTIONS) for name in
             ("signer0/sign00/0", "signer0/sign00/1", "signer1/sign00/0", "signer0/sign01/0")]  # fmt: skip
    assert len({clip.values.tobytes() for clip in clips}) == 4


def test_the_fourth_signer_is_left_handed():
    """The hand seen more often is the dominant one."""

    def share(name: str, part: slice) -> float:
        return float(np.isfinite(synthetic.read(REFS[name], OPTIONS).values[0, :, part, 0]).mean())

    left, right = slice(33, 54), slice(54, 75)
    for sign in range(4):
        assert share(f"signer0/sign{sign:02d}/0", right) >= share(f"signer0/sign{sign:02d}/0", left) - 0.3
        assert share(f"signer3/sign{sign:02d}/0", left) >= share(f"signer3/sign{sign:02d}/0", right) - 0.3


def test_hands_vanish_at_rest_and_points_lie_about_the_image():
    for ref in REFS.values():
        values = synthetic.read(ref, OPTIONS).values[0]
        assert np.isnan(values[0, 33:]).all()
        assert np.isfinite(values).any()
        assert np.nanmax(np.abs(values[:, :17, :2] - 0.5)) < 1.5
