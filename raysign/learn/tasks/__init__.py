"""One file per task: heads, loss, decoding and the sums its metrics are made of. Each has

class Options(Section)            kind (its file's name) and the task's settings
class Task(nn.Module)             Task(options, width, labels); METRICS: names of its metrics, `loss` among them;
                                  forward(h, mask) -> logits, loss(logits, targets) -> (B,), and
                                  sums(logits, targets) -> {metric: (B,)}, what each clip adds to each metric
targets(glosses, labels)          the targets of clips, one row each; TrainError for what cannot be trained on
"""
