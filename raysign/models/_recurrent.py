"""Recurrent networks over clips of different lengths: no direction of time ever sees a frame that a clip has not."""

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


def states(network: nn.LSTM | nn.GRU, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """What the last layer knows after each frame, directions side by side; what is beyond a clip's end is anything.

    x (N, T, D), lengths (N,) int64 of 1 or more -> (N, T, directions * hidden).
    """
    if torch.compiler.is_exporting():
        return _in_turn(network, x, lengths)
    packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
    return pad_packed_sequence(network(packed)[0], batch_first=True, total_length=x.shape[1])[0]


def _in_turn(network: nn.LSTM | nn.GRU, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The same by operations that other programs know: a direction at a time, and backwards is forwards when each clip
    is turned round within its length.
    """
    steps, ends = torch.arange(x.shape[1], device=x.device), lengths[:, None]
    turn = torch.where(steps < ends, ends - 1 - steps, steps)[..., None]
    for layer in range(network.num_layers):
        found = [_forwards(network, x, f"l{layer}")]
        if network.bidirectional:
            back = _forwards(network, x.gather(1, turn.expand_as(x)), f"l{layer}_reverse")
            found.append(back.gather(1, turn.expand_as(back)))
        x = torch.cat(found, dim=2)
    return x


def _forwards(network: nn.LSTM | nn.GRU, x: torch.Tensor, name: str) -> torch.Tensor:
    """One layer in one direction, whose weights end in `name`."""
    from torch._higher_order_ops import scan  # of a torch that can export it; nothing else needs it

    weights = [getattr(network, f"{part}_{name}") for part in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
    start = x.new_zeros(x.shape[0], network.hidden_size)

    def lstm(known, frame):
        h, c = torch.lstm_cell(frame, known, *weights)
        return [h, c], h.clone()  # what is handed on and what is told must not be one tensor

    def gru(known, frame):
        h = torch.gru_cell(frame, known[0], *weights)
        return [h], h.clone()

    step, known = (lstm, [start, start.clone()]) if isinstance(network, nn.LSTM) else (gru, [start])
    return scan(step, known, x.transpose(0, 1))[1].transpose(0, 1)
