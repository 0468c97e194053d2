"""Progressive networks: a new task gets a column of its own that reads the columns of the old ones, which stay as they
are (Rusu et al. 2016).

The old columns' outputs cannot change, so nothing is ever forgotten; the price is a column's parameters for each task.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from speechnlp_tl.errors import InputError


class Lateral(nn.Module):
    """What earlier columns add to a layer's input: U relu(V [alpha_1 h_1, ..., alpha_k h_k]) (Rusu et al. 2016, eq. 2).

    The paper adds it to the layer's pre-activation, where U stands beside the layer's own weights W. Here it is added
    to what W reads: the same functions, since W U is a matrix as well, for a layer of any kind.

    U starts at zero: an untrained lateral connection changes nothing, and the first gradient step of U does not wait
    for V's.

    Args:
        widths: D of each earlier column.
        width: D of what is added.
        bottleneck: rows of V.
    """

    def __init__(self, widths: Sequence[int], width: int, bottleneck: int) -> None:
        super().__init__()
        if not widths or bottleneck < 1:
            raise InputError(
                f"a lateral connection needs an earlier column and a bottleneck of 1 or more: {bottleneck}"
            )
        self.scales = nn.Parameter(torch.ones(len(widths)))
        self.reduce = nn.Linear(sum(widths), bottleneck)
        self.expand = nn.Linear(bottleneck, width)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        nn.init.ones_(self.scales)
        self.reduce.reset_parameters()
        nn.init.zeros_(self.expand.weight)
        nn.init.zeros_(self.expand.bias)

    def forward(self, below: Sequence[Tensor]) -> Tensor:
        """Each (..., D) in, (..., width) out."""
        scaled = [scale * hidden for scale, hidden in zip(self.scales, below, strict=True)]
        return self.expand(torch.relu(self.reduce(torch.cat(scaled, dim=-1))))  # type: ignore[no-any-return]


class Laterals(nn.Module):
    """The lateral connections of a column: one from the outputs of each layer of the earlier columns, into what the
    next layer of this one reads; that of the last layer into what the output layer reads.

    In learning the column, what keeps the earlier ones as they are is that they are frozen. Afterwards gradients pass:
    what holds this column's outputs in place also holds the layers it reads.

    Args:
        layers: of every column.
        widths, width, bottleneck: as `Lateral`.
    """

    def __init__(self, layers: int, widths: Sequence[int], width: int, bottleneck: int) -> None:
        super().__init__()
        self.connections = nn.ModuleList([Lateral(widths, width, bottleneck) for _ in range(layers)])

    def forward(self, layer: int, below: Sequence[Tensor]) -> Tensor:
        """What is added to the output of `layer`, from 0, given those of the earlier columns' same layer."""
        return self.connections[layer](below)  # type: ignore[no-any-return]
