"""The acoustic model: an encoder shared by everything, and a head of HMM states for each language.

`AcousticModel.forward` is the interface that pretrained models will wear too: features and lengths in, logits, output
lengths and named hidden layers out. A batch may mix languages: each row then has the logits of its own head, and heads
that no row names take no part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from speechnlp_tl.speech.encoder import Encoder, EncoderConfig
from speechnlp_tl.transfer.progressive import Laterals

DEFAULT_HEAD = "default"
ABSENT = -1e4
"""Logit of a pdf that a row's head has not: no probability, and finite, so that two models' can be compared."""


@dataclass
class AcousticOutput:
    """What an acoustic model says about a batch."""

    logits: Tensor
    """(B, T, P) unnormalised log posteriors of the pdfs; P is that of the largest head, and rows of others end with
    `ABSENT`."""
    lengths: Tensor
    """(B,) real output frames."""
    hidden: dict[str, Tensor]
    """Each encoder layer's output, (B, T, D), by name: `layer1`, `layer2`, ..."""
    beside: dict[str, Tensor] = field(default_factory=dict)
    """(B, T, P) logits of other heads that were asked for, by name."""


class StateHead(nn.Module):
    """Posteriors of one language's HMM states, and the running prior that turns them into likelihoods.

    The prior is the mean posterior over training frames, an exponential average over optimiser steps: without
    it a flat start collapses onto silence.
    """

    prior: Tensor

    def __init__(self, width: int, num_pdfs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, num_pdfs)
        self.register_buffer("prior", torch.full((num_pdfs,), 1.0 / num_pdfs))
        # Summed posteriors of the current optimiser step, and in the last place the number of frames. No buffer: data
        # parallelism would overwrite each process' own sum with the first one's.
        self._pending: Tensor | None = None

    @property
    def num_pdfs(self) -> int:
        return len(self.prior)

    def reset_parameters(self) -> None:
        self.linear.reset_parameters()
        self.prior.fill_(1.0 / len(self.prior))
        self._pending = None

    def forward(self, hidden: Tensor) -> Tensor:
        return self.linear(hidden)  # type: ignore[no-any-return]

    @torch.no_grad()
    def observe(self, log_posteriors: Tensor, mask: Tensor) -> None:
        """Remember the posteriors (B, T, P) of the real frames until the end of the optimiser step."""
        posteriors = (log_posteriors.float().exp() * mask.unsqueeze(-1)).sum(dim=(0, 1))
        observed = torch.cat([posteriors, mask.sum().reshape(1).float()])
        self._pending = observed if self._pending is None else self._pending + observed

    def take_observed(self) -> Tensor:
        """What was observed since the last call: summed posteriors of each pdf, then the number of frames."""
        observed, self._pending = self._pending, None
        return self.prior.new_zeros(len(self.prior) + 1) if observed is None else observed

    @torch.no_grad()
    def update_prior(self, observed: Tensor, decay: float) -> None:
        """Average the prior with the mean posterior `observed` in a whole step, over all processes."""
        if observed[-1] > 0 and bool(torch.isfinite(observed).all()):
            self.prior.mul_(decay).add_(observed[:-1] / observed[-1], alpha=1.0 - decay)


class EncoderColumn(nn.Module):
    """A progressive network's further column: an encoder that also reads the columns before it (Rusu et al. 2016)."""

    def __init__(self, input_dim: int, config: EncoderConfig, below: int, bottleneck: int) -> None:
        super().__init__()
        self.encoder = Encoder(input_dim, config)
        self.laterals = Laterals(config.layers, [config.width] * below, config.width, bottleneck)

    def forward(
        self, features: Tensor, lengths: Tensor, below: Sequence[Sequence[Tensor]]
    ) -> tuple[list[Tensor], Tensor]:
        """As `Encoder.forward`; `below` are the layers' outputs of each earlier column. The last output is what the
        head reads: the last layer's, and what the earlier columns' last layers add to it."""

        def lateral(layer: int, mask: Tensor) -> Tensor:
            added = self.laterals(layer, [column[layer] for column in below])
            return added * mask

        return self.encoder(features, lengths, lateral)  # type: ignore[no-any-return]


class AcousticModel(nn.Module):
    """Encoder and heads.

    Args:
        input_dim: feature dimensions.
        config: shape of the encoder.
        heads: number of pdfs of each head by name.
        columns: heads that have a column of their own in a progressive network, in the order in which they were added,
            and the width of its lateral adapters.
    """

    input_layer = "encoder.subsampling.convolution"
    """Where the features enter: what a speaker's linear input network stands in front of."""

    def __init__(
        self, input_dim: int, config: EncoderConfig, heads: Mapping[str, int], columns: Mapping[str, int] | None = None
    ) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.encoder = Encoder(input_dim, config)
        self.heads = nn.ModuleDict({name: StateHead(config.width, pdfs) for name, pdfs in heads.items()})
        self.columns = nn.ModuleDict()
        for name, bottleneck in (columns or {}).items():
            self.add_column(name, bottleneck)

    def add_head(self, name: str, num_pdfs: int) -> StateHead:
        """A head with fresh weights, on the model's device."""
        head = StateHead(self.encoder.config.width, num_pdfs).to(self._device)
        self.heads[name] = head
        return head

    def add_column(self, name: str, bottleneck: int) -> EncoderColumn:
        """A column with fresh weights for the head of that name, which reads all columns that are there."""
        column = EncoderColumn(self.input_dim, self.encoder.config, 1 + len(self.columns), bottleneck)
        self.columns[name] = column.to(self._device)
        return column

    def forward(
        self, features: Tensor, lengths: Tensor, head: str | Sequence[str] = DEFAULT_HEAD, beside: Sequence[str] = ()
    ) -> AcousticOutput:
        """(B, T, F) features and (B,) lengths in.

        Args:
            head: the head of all rows, or of each.
            beside: heads whose logits are wanted of every row besides.
        """
        hidden, output_lengths = self.encoder(features, lengths)
        named = {f"layer{number}": layer for number, layer in enumerate(hidden, start=1)}
        names = [head] if isinstance(head, str) else list(dict.fromkeys([*head]))
        tops = self._tops(features, lengths, hidden, [*names, *beside])
        if len(names) == 1:
            logits = self.heads[names[0]](tops[names[0]])
        else:
            logits = self._logits_of_rows(list(head), names, tops)
        others = {name: self.heads[name](tops[name]) for name in beside}
        return AcousticOutput(logits, output_lengths, named, others)

    def _tops(self, features: Tensor, lengths: Tensor, hidden: list[Tensor], names: Sequence[str]) -> dict[str, Tensor]:
        """What each head reads, (B, T, D)."""
        tops = dict.fromkeys(names, hidden[-1])
        wanted = [name for name in names if name in self.columns]
        if wanted:
            below = [hidden]
            for name, column in self.columns.items():
                outputs, _ = column(features, lengths, below)
                if name in wanted:
                    tops[name] = outputs[-1]
                    wanted.remove(name)
                if not wanted:
                    break
                below.append(outputs)
        return tops

    def _logits_of_rows(self, heads: Sequence[str], names: Sequence[str], tops: Mapping[str, Tensor]) -> Tensor:
        """(B, T, P): each row's own head, and `ABSENT` behind its pdfs."""
        rows_of = {name: [row for row, own in enumerate(heads) if own == name] for name in names}
        parts = {name: self.heads[name](tops[name][rows]) for name, rows in rows_of.items()}
        frames, widest = next(iter(tops.values())).shape[1], max(part.shape[-1] for part in parts.values())
        like = parts[names[0]]
        logits = like.new_full((len(heads), frames, widest), ABSENT)
        for name, part in parts.items():
            logits[rows_of[name], :, : part.shape[-1]] = part.to(logits.dtype)
        return logits

    def log_prior(self, head: str | Sequence[str] = DEFAULT_HEAD) -> Tensor:
        """Log priors: (P,) of one head, or (B, 1, P) of each row's own, zero behind its pdfs."""
        if isinstance(head, str):
            return self.head(head).prior.clamp_min(1e-8).log()
        priors = {name: self.log_prior(name) for name in dict.fromkeys(head)}
        widest = max(len(prior) for prior in priors.values())
        table = {name: nn.functional.pad(prior, (0, widest - len(prior))) for name, prior in priors.items()}
        return torch.stack([table[name] for name in head]).unsqueeze(1)

    def head(self, name: str = DEFAULT_HEAD) -> StateHead:
        head = self.heads[name]
        assert isinstance(head, StateHead)
        return head

    def output_lengths(self, lengths: Tensor) -> Tensor:
        return self.encoder.subsampling.output_lengths(lengths)

    def layer_groups(self) -> list[tuple[str, nn.Module]]:
        """The layers from input to output, the heads last: what 'the first n' and 'the last n' layers count."""
        layers = [self.encoder.subsampling, *self.encoder.layers]
        groups = [(f"layer{number}", layer) for number, layer in enumerate(layers, start=1)]
        columns: list[tuple[str, nn.Module]] = [("columns", self.columns)] if self.columns else []
        return [*groups, *columns, ("head", self.heads)]

    def adaptable_layers(self) -> list[str]:
        """Names of the hidden linear and convolution modules that adapters may attach to."""
        kinds = (nn.Linear, nn.Conv1d)
        return [name for name, module in self.encoder.named_modules(prefix="encoder") if isinstance(module, kinds)]

    def hidden_unit_layers(self) -> dict[str, str]:
        """Where LHUC scales hidden units: names of modules, each with the side, "output" or "input", they are on."""
        return {
            f"{prefix}.{name}": side
            for prefix, module in self.encoder.named_modules(prefix="encoder")
            for name, side in getattr(module, "hidden_units", {}).items()
        }

    @property
    def _device(self) -> torch.device:
        return next(self.parameters()).device
