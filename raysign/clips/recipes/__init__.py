"""One file per recipe that turns landmarks into a clip. Each has

class Options(Section)                    kind (its file's name) and the recipe's settings
skeleton(options, layout) -> Skeleton     the points of clips made from landmarks of a layout; ConfigError when it
                                          cannot make any
channels(options, layout) -> tuple        names of the channels; the last one is `visibility`
axes(options, layout) -> tuple            the two channels to draw, the second growing upwards; absent where these are
                                          x and y as in the landmarks
apply(landmarks, options) -> ndarray      (M, T, V, C) float32 without NaN; ClipError when nothing can be used;
                                          where Options are `_frames.Fitted`, also apply(landmarks, options, sampling)
"""
