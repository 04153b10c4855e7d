"""One file per family of encoders. Each has

class Options(Inputs)                     kind (its file's name) and the encoder's settings
class Encoder(nn.Module)                  Encoder(options, skeleton, names of the channels), `.width` the size D of h
    forward(x, mask) -> (h, mask)         x (N, T, V, C) float32, mask (N, T) bool, true for real frames;
                                          h (N, T', D), mask (N, T'): frames outside the mask never change h inside
PUBLISHED                                 where weights of others are published: {pattern: what replaces it}, from
                                          their names to a recogniser's, empty for what is not needed; the first that
                                          matches counts. published(options) gives it where it follows from these
sizes(shapes) -> dict                     where it can tell: the options that weights of these {name: shape} were made
                                          with
"""
