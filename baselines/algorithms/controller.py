"""The controller: a recurrent network that draws architectures, choice after choice, and says how likely each is.

Source: Zoph and Le 2017 (Neural architecture search with reinforcement learning), section 3; with skips by attention
as in Pham et al. 2018 (ENAS), sections 2.2 and 2.3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from nas360.baselines.spaces.layered import Child, Layout
from nas360.errors import RunError


@dataclass(frozen=True)
class ControllerSettings:
    """What a controller is.

    Attributes:
        units: of the LSTM.
        temperature: divides logits.
        tanh_constant: logits are kept within ± this, logit ← constant · tanh(logit / temperature).
        start: weights begin uniform in ± this.
        skip_share: share of skips that the prior wants, in (0, 1).
    """

    units: int = 64
    temperature: float = 2.0
    tanh_constant: float = 1.5
    start: float = 0.1
    skip_share: float = 0.4

    def __post_init__(self) -> None:
        if self.units < 1 or not 0 < self.skip_share < 1:
            raise RunError(f"units {self.units} must be at least 1, and the share of skips {self.skip_share} in (0, 1)")
        for name, value in (("temperature", self.temperature), ("tanh constant", self.tanh_constant)):
            if not 0 < value < float("inf"):
                raise RunError(f"{name} {value} of the controller is not a finite number above 0")


@dataclass(frozen=True)
class Drawn:
    """Architectures as tensors, and what the controller makes of them.

    Attributes:
        operations: (n, layers) int64.
        skips: (n, layers, layers) bool; [a, i, j] is whether layer i of a takes the output of layer j < i.
        log_probability: (n,) of the whole architecture.
        entropy: (n,) sum over the choices of the entropy of what each was drawn from.
        divergence: (n,) Kullback-Leibler divergence of the skips' probabilities from the prior's, mean over a layer's
            skips, then over the layers that have any.
    """

    operations: Tensor
    skips: Tensor
    log_probability: Tensor
    entropy: Tensor
    divergence: Tensor

    def __len__(self) -> int:
        return len(self.operations)

    def children(self) -> list[Child]:
        """As plain values."""
        return [
            Child(tuple(tokens), tuple(tuple(j for j, on in enumerate(row) if on) for row in rows))
            for tokens, rows in zip(self.operations.tolist(), self.skips.tolist(), strict=True)
        ]


class Controller(nn.Module):
    """An LSTM over the layers, which draws an operation, then the skips, of each.

    At layer i it reads what the layer before came to (the mean of the states of the layers that were taken, 0 where
    none was; a learnt start at the first two), gives logits of the operations, reads the embedding of the one drawn,
    and gives with attention v · tanh(A h_j + B h_i) the logit q of a skip from j; its probability is
    sigmoid(2 c tanh(q / T)), from the logits ± c tanh(q / T). Embedding, softmax and attention are shared by
    all layers.

    It lives on the CPU, whatever the children do: it is a chain of tiny steps.

    Args:
        layout: what there is to choose.
        settings: what it is.
    """

    def __init__(self, layout: Layout, settings: ControllerSettings) -> None:
        super().__init__()
        units = settings.units
        self.layout, self.settings = layout, settings
        self.start = nn.Parameter(torch.empty(units))
        self.embedding = nn.Embedding(layout.operations, units)
        self.cell = nn.LSTMCell(units, units)
        self.softmax = nn.Linear(units, layout.operations, bias=False)
        self.of_source = nn.Linear(units, units, bias=False)
        self.of_layer = nn.Linear(units, units, bias=False)
        self.attention = nn.Linear(units, 1, bias=False)
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -settings.start, settings.start)

    def draw(self, n: int, generator: torch.Generator) -> Drawn:
        """`n` architectures at once.

        Args:
            n: how many.
            generator: what is random comes from it.
        """
        with torch.no_grad():
            return self._run(n, None, generator)

    def judge(self, children: Sequence[Child]) -> Drawn:
        """What the controller makes of given architectures; its parameters have gradients through it."""
        n, layers = len(children), self.layout.layers
        operations = torch.tensor([child.operations for child in children])
        skips = torch.zeros(n, layers, layers, dtype=torch.bool)
        for number, child in enumerate(children):
            for layer, sources in enumerate(child.skips):
                skips[number, layer, list(sources)] = True
        return self._run(n, (operations, skips), None)

    def greatest_entropy(self) -> float:
        """Of all choices together, in nats."""
        layers, operations = self.layout.layers, self.layout.operations
        return float(
            layers * torch.tensor(float(operations)).log() + layers * (layers - 1) / 2 * torch.tensor(2.0).log()
        )

    def _bounded(self, logits: Tensor) -> Tensor:
        return self.settings.tanh_constant * torch.tanh(logits / self.settings.temperature)

    def _run(self, n: int, given: tuple[Tensor, Tensor] | None, generator: torch.Generator | None) -> Drawn:
        layers, prior = self.layout.layers, self.settings.skip_share
        x = self.start.expand(n, -1)
        state: tuple[Tensor, Tensor] | None = None
        states: list[Tensor] = []
        keys: list[Tensor] = []
        drawn, links = [], torch.zeros(n, layers, layers, dtype=torch.bool)
        log_probability, entropy, divergence = torch.zeros(3, n).unbind()
        for layer in range(layers):
            state = self.cell(x, state)
            log_p = self._bounded(self.softmax(state[0])).log_softmax(dim=1)
            token = given[0][:, layer] if given else torch.multinomial(log_p.exp(), 1, generator=generator)[:, 0]
            drawn.append(token)
            log_probability = log_probability + log_p.gather(1, token[:, None])[:, 0]
            entropy = entropy - (log_p.exp() * log_p).sum(dim=1)
            state = self.cell(self.embedding(token), state)
            hidden = state[0]
            x = self.start.expand(n, -1)
            if layer:
                scores = self.attention(torch.tanh(torch.stack(keys, dim=1) + self.of_layer(hidden)[:, None]))[:, :, 0]
                logit = 2 * self._bounded(scores)
                on = (
                    given[1][:, layer, :layer]
                    if given
                    else torch.rand(logit.shape, generator=generator) < logit.sigmoid()
                )
                links[:, layer, :layer] = on
                yes, no = functional.logsigmoid(logit), functional.logsigmoid(-logit)
                p = logit.sigmoid()
                log_probability = log_probability + torch.where(on, yes, no).sum(dim=1)
                entropy = entropy - (p * yes + (1 - p) * no).sum(dim=1)
                apart = p * (yes - torch.tensor(prior).log()) + (1 - p) * (no - torch.tensor(1 - prior).log())
                divergence = divergence + apart.mean(dim=1) / (layers - 1)
                taken = on.to(hidden.dtype)[:, :, None]
                x = (taken * torch.stack(states, dim=1)).sum(dim=1) / (1 + taken.sum(dim=1))
            states.append(hidden)
            keys.append(self.of_source(hidden))
        return Drawn(torch.stack(drawn, dim=1), links, log_probability, entropy, divergence)
