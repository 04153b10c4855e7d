"""From where on `raysign validate` says something: every threshold, with the reason for it.

Lengths are in body sizes: the distance between the shoulders, or, for a skeleton that names none, the middle distance
of its points from their centre.
"""

# ---------------------------------------------------------------- labels, lengths, recordings
FEWEST_CLIPS = 3  # of a gloss: one to train on, one to choose by, one to test on
IMBALANCE = 10.0  # largest gloss over smallest; beyond it a recogniser that names the large ones looks good
SHORT, LONG = 0.25, 4.0  # of the middle length: half a sign, or several, is what such cuts have turned out to hold
FPS_SPREAD = 1.2  # highest over lowest frame rate; more than the change of speed between two people's signing
FEW_SIGNERS = 2  # with one signer nothing can be said of how others are read

# ---------------------------------------------------------------- points
NEVER_SEEN = 0.98  # NaN share of a part above which the part tells nothing
ZEROS = 0.05  # share of a part's seen points at exactly (0, 0): a detector gives none, a source that fills gaps many
FILLED = 0.2  # the same in clips, whose roots lie at the origin by right: 1 point of 21 in a hand
HANDS = 0.5  # middle share of frames with a hand; signing shows one in most, the published sets in 0.7 and more
OUTSIDE = (-4.0, 5.0)  # image units: feet of one who sits near the camera are guessed 2.5 heights below, none further
OUTSIDE_SHARE = 0.01  # of a clip's seen points: a single wild guess is no bad clip
FROZEN = 1e-4  # largest spread of any point in body sizes: a still signer trembles twenty times as much
JUMP = 3.0  # body sizes in one frame: 25 m/s at 25 frames a second; whole recordings of ten a second stay below 2
JUMPS_SHARE = 0.1  # of the stage's clips with a jump: detection errors are everywhere, this many want a look

# ---------------------------------------------------------------- quality
JITTER = 0.1  # body sizes by which a point strays from between its neighbours in time; the worst real clip has 0.07
LOW_QUALITY = 0.3  # clips below are listed as poor; the middle of sets that can be trained on lies at 0.8 and above
WORST = 20  # clips listed on the page

# ---------------------------------------------------------------- twins
# Measured on three real sets: copies with noise of a thousandth of the picture lie within 0.013 of their originals, and
# all are found; of copies cut by a tenth at either end 56 to 100 % are. The closest true takes of one word by one
# person lie 0.027 and 0.052 apart, of one gesture 0.017 and then 0.039; neighbouring frames of a video from 0.004 on.
TWIN = 0.02
CANDIDATE = 0.15  # how near mean and spread of the points of nine in ten such copies are to their original's
NEIGHBOURS = 10  # nearest clips that are compared in time with each clip
SHIFT = 0.2  # of the length: how much earlier or later a copy may have been cut

MOST_LINES = 5  # of one check; more are counted
