"""One file per task: heads, loss, decoding and the sums its metrics are made of."""
