"""Which points are tied to which, as MediaPipe, NTU RGB+D and OpenPose number them: the tables behind raysign.skeleton.

Words such as `2-3` are pairs of points. Sources: PoseLandmarksConnections and FACE_LANDMARKS_CONTOURS of MediaPipe
0.10.33; HAND_CONNECTIONS of 0.10.21, whose index finger starts at the wrist, as the models of the field were trained
with; the graphs of st-gcn and pyskl; OpenPose's output format.
"""

from itertools import pairwise

POSE_BONES = (
    (0, 1), (1, 2), (2, 3), (3, 7), (0, 4), (4, 5), (5, 6), (6, 8), (9, 10), (11, 12), (11, 13), (13, 15), (15, 17),
    (15, 19), (15, 21), (17, 19), (12, 14), (14, 16), (16, 18), (16, 20), (16, 22), (18, 20), (11, 23), (12, 24),
    (23, 24), (23, 25), (24, 26), (25, 27), (26, 28), (27, 29), (28, 30), (29, 31), (30, 32), (27, 31), (28, 32),
)  # fmt: skip
POSE_MIRROR = (
    0, 4, 5, 6, 1, 2, 3, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15, 18, 17, 20, 19, 22, 21, 24, 23, 26, 25, 28, 27, 30, 29,
    32, 31,
)  # fmt: skip
HAND_BONES = (
    (0, 1), (0, 5), (0, 17), (1, 2), (2, 3), (3, 4), (5, 6), (5, 9), (6, 7), (7, 8), (9, 10), (9, 13), (10, 11),
    (11, 12), (13, 14), (13, 17), (14, 15), (15, 16), (17, 18), (18, 19), (19, 20),
)  # fmt: skip
# Lips, eyes, eyebrows and the oval of the 468-point face mesh, as closed or open chains of points.
FACE_CHAINS = (
    (61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291), (61, 185, 40, 39, 37, 0, 267, 269, 270, 409, 291),
    (78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308), (78, 191, 80, 81, 82, 13, 312, 311, 310, 415, 308),
    (263, 249, 390, 373, 374, 380, 381, 382, 362), (263, 466, 388, 387, 386, 385, 384, 398, 362),
    (33, 7, 163, 144, 145, 153, 154, 155, 133), (33, 246, 161, 160, 159, 158, 157, 173, 133),
    (276, 283, 282, 295, 285), (300, 293, 334, 296, 336), (46, 53, 52, 65, 55), (70, 63, 105, 66, 107),
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377, 152, 148, 176, 149, 150,
     136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109, 10),
)  # fmt: skip
FACE_BONES = tuple((a, b) for chain in FACE_CHAINS for a, b in pairwise(chain))
FACE_ROOT = 1  # tip of the nose: no contour passes it, but it ties the face to pose point 0
FACE_POINTS = tuple(sorted({FACE_ROOT, *(point for bone in FACE_BONES for point in bone)}))

# Points of a hand's fingers, from the root on, by the number of points the hand has; 10: a tip of the thumb, no more.
FINGERS = {21: tuple(tuple(range(i, i + 4)) for i in range(1, 21, 4)), 10: ((2, 3), (4, 5), (6, 7), (8, 9))}
HANDS = ("left_hand", "right_hand", "hand")

NOSE, LEFT_SHOULDER, RIGHT_SHOULDER, LEFT_WRIST, RIGHT_WRIST = 0, 11, 12, 15, 16  # indices within `pose`

NTU = (  # counted from 1, as in the camera's manual; 21 is the spine between the shoulders, 22 and on the hands
    "1-2 2-21 3-21 4-3 5-21 6-5 7-6 8-7 9-21 10-9 11-10 12-11 13-1 14-13 15-14 16-15 17-1 18-17 19-18 20-19 "
)
NTU_TWINS = "5-9 6-10 7-11 8-12 13-17 14-18 15-19 16-20 "
NTU_NAMES = "head-4 left_shoulder-5 right_shoulder-9 left_elbow-6 right_elbow-10 left_wrist-7 right_wrist-11"
MINIMAL = (
    "2-0 1-0 0-3 0-4 3-5 4-6 5-7 6-17 7-8 7-9 9-10 7-11 11-12 7-13 13-14 7-15 15-16 17-18 17-19 19-20 17-21 21-22 "
    "17-23 23-24 17-25 25-26"
)
MINIMAL_POINTS = {
    "pose": (0, 2, 5, 11, 12, 13, 14),
    "left_hand": (0, 4, 5, 8, 9, 12, 13, 16, 17, 20),
    "right_hand": (0, 4, 5, 8, 9, 12, 13, 16, 17, 20),
}
FSL_FACE = (1, 33, 263, 133, 362, 61, 291, 105, 334, 199, 4)  # of the face mesh: nose, corners of eyes and mouth, brows
FSL_TWINS = (0, 2, 1, 4, 3, 6, 5, 8, 7, 9, 10)
OPENPOSE_ARMS = (
    "left_shoulder-5 right_shoulder-2 left_elbow-6 right_elbow-3 left_wrist-7 right_wrist-4"  # in both bodies
)
OPENPOSE_CHAINS = (  # oval, brows, bridge and wings of the nose, eyes, lips outside and inside; pupils stand alone
    range(17), range(17, 22), range(22, 27), range(27, 31), range(31, 36), (30, 33), (*range(36, 42), 36),
    (*range(42, 48), 42), (*range(48, 60), 48), (*range(60, 68), 60),
)  # fmt: skip
