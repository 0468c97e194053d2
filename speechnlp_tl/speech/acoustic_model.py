"""The acoustic model: an encoder shared by everything, and a head of HMM states for each language.

`AcousticModel.forward` is the interface that pretrained models will wear too: features and lengths in, logits, output
lengths and named hidden layers out.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from speechnlp_tl.speech.encoder import Encoder, EncoderConfig

DEFAULT_HEAD = "default"


@dataclass
class AcousticOutput:
    """What an acoustic model says about a batch."""

    logits: Tensor
    """(B, T, P) unnormalised log posteriors of the pdfs."""
    lengths: Tensor
    """(B,) real output frames."""
    hidden: dict[str, Tensor]
    """Each encoder layer's output, (B, T, D), by name: `layer1`, `layer2`, ..."""


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


class AcousticModel(nn.Module):
    """Encoder and heads.

    Args:
        input_dim: feature dimensions.
        config: shape of the encoder.
        heads: number of pdfs of each head by name.
    """

    input_layer = "encoder.subsampling.convolution"
    """Where the features enter: what a speaker's linear input network stands in front of."""

    def __init__(self, input_dim: int, config: EncoderConfig, heads: dict[str, int]) -> None:
        super().__init__()
        self.input_dim = input_dim
        self.encoder = Encoder(input_dim, config)
        self.heads = nn.ModuleDict({name: StateHead(config.width, pdfs) for name, pdfs in heads.items()})

    def forward(self, features: Tensor, lengths: Tensor, head: str = DEFAULT_HEAD) -> AcousticOutput:
        """(B, T, F) features and (B,) lengths in, an `AcousticOutput` of one head out."""
        hidden, lengths = self.encoder(features, lengths)
        named = {f"layer{number}": layer for number, layer in enumerate(hidden, start=1)}
        return AcousticOutput(self.heads[head](hidden[-1]), lengths, named)

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
        return [*groups, ("head", self.heads)]

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
