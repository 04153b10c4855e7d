"""One file per task: heads, loss, decoding and the sums its metrics are made of. Each has

class Options(Section)            kind (its file's name) and the task's settings
class Task(nn.Module)             Task(options, width, labels: Labels); METRICS: names of its metrics, `loss` and
                                  `top1` among them;
                                  forward(h, mask) -> logits (B, ...), loss(logits, targets) -> (B,),
                                  sums(logits, targets) -> {metric: (B,)}, what each clip adds to each metric, and
                                  probabilities(logits) -> (B, K) float64, of the glosses;
                                  outputs(logits) -> tensors for a program that has no raysign, whose names and
                                  meanings are OUTPUTS: probabilities, or logarithms of them named log_...
                                  Where there is more to tell: told(logits) -> a dict for each clip of further columns
                                  of PREDICTIONS; balance(targets), called with those of all training clips before the
                                  first step, after the network is on its device; start(epoch), called before each
                                  epoch, counted from 0; watch(metrics), called after it with its figures, which
                                  may warn of what goes wrong, or refuse it by TrainError; LOWER: names of the metrics
                                  of which less is better, beside those that end in `loss`; PER: {metric: the name of
                                  one more sum}, by which it is divided and not by the number of clips
targets(clips, labels)            the targets of the clips of a table with the columns gloss and category (in a training
                                  also id, frames and others, see batch.SMALL), one row each; TrainError for what
                                  cannot be trained on
"""
