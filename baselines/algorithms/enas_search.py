"""One search by ENAS: the state that a checkpoint holds, and its steps; see `enas.Enas`."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.controller import Controller, Drawn
from nas360.baselines.algorithms.enas_reward import macro_auroc
from nas360.baselines.algorithms.progress import Progress
from nas360.baselines.device import autocast_dtype
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Feed, Tensors, to_device
from nas360.baselines.spaces.layered import Child
from nas360.errors import RunError
from nas360.loaders.ahead import ahead
from nas360.loaders.base import Batch
from nas360.seeding import derive

if TYPE_CHECKING:
    from nas360.baselines.algorithms.enas import Enas, PolicyUpdate

TOGETHER = 25
"""Children scored in one pass over validation; after it a checkpoint may be written."""


def policy_loss(drawn: Drawn, advantage: Tensor, skip_weight: float) -> Tensor:
    """What an update of the controller minimises: -sum of advantage · log p, plus the mean divergence of skips.

    Its gradient without the divergence is that of -(expected reward), from a sample (Williams 1992).

    Args:
        drawn: n architectures, judged by the controller.
        advantage: (n,), reward minus baseline.
        skip_weight: of the divergence.
    """
    return -(advantage * drawn.log_probability).sum() + skip_weight * drawn.divergence.mean()


def learn(
    controller: Controller, optimiser: torch.optim.Optimizer, children: list[Child], advantage: Tensor,
    update: PolicyUpdate, rng: np.random.Generator,
) -> None:  # fmt: skip
    """Update the controller, in a seeded order, by all children of an episode.

    Args:
        controller: what learns.
        optimiser: of its parameters.
        children: n that were scored.
        advantage: (n,) of each.
        update: how.
        rng: draws the orders.
    """
    with torch.no_grad():
        before = controller.judge(children).log_probability
    for number in range(update.passes):
        fallen = 0.0
        order = torch.from_numpy(rng.permutation(len(children)))
        for part in torch.split(order, update.batch):
            drawn = controller.judge([children[one] for one in part.tolist()])
            fallen += float((before[part] - drawn.log_probability.detach()).sum())
            optimiser.zero_grad(set_to_none=True)
            policy_loss(drawn, advantage[part], update.skip_weight).backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            optimiser.step()
        if number and update.stop is not None and fallen / len(children) > update.stop:
            break


class EnasSearch:
    """Shared weights, controller, and where the search is; made inside `owned_randomness`."""

    def __init__(self, algorithm: Enas, space: Any, arena: Arena) -> None:
        self.algorithm, self.space, self.arena = algorithm, space, arena
        self.table = algorithm.timetable(arena)
        self.shared: Any = space.share(arena.spec, algorithm.width)
        self.model = arena.model(self.shared)
        self.controller = Controller(space.layout, algorithm.controller)
        self.weights = arena.recipe.optimiser.make(self.model.parameters())
        self.policy = torch.optim.Adam(self.controller.parameters(), algorithm.update.lr)
        batch = min(arena.recipe.batch_size, len(arena.rows))
        self.feed = Feed(arena.rows, arena.preprocessing, batch, arena.seed, "weights")
        self.looked = self._validation_parts(batch)
        self.progress = Progress(
            arena, self.feed,
            {"model": self.model, "weights": self.weights, "controller": self.controller, "policy": self.policy},
        )  # fmt: skip
        self.episode = 0
        self.baseline = math.nan
        self.rewards: list[float] = []
        self._drawn: tuple[int, list[Child]] = (-2, [])

    def _validation_parts(self, size: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        """Rows of a look, in equal parts of about the batch size: norms go by a part's statistics."""
        order = derive(self.arena.seed, "search", "validation").permutation(len(self.arena.validation))
        order = order[: self.algorithm.validation_rows]
        return np.array_split(order, max(1, round(len(order) / size)))

    def run(self) -> Found:
        """Search to the last step, from wherever the last checkpoint left it."""
        arena, table, progress = self.arena, self.table, self.progress
        self._resume()
        self.model.train()
        self._score_if_due()
        for batch in self.feed.steps(progress.step, table.steps):
            self._weight_step(to_device(batch, arena.device))
            progress.advance()
            self._keep()
            self._score_if_due()
        children = self._children(table.episodes, self.algorithm.samples)
        rewards = self._scores(children)
        best = max(range(len(children)), key=lambda number: rewards[number])
        self._keep(last=True)
        facts = {
            "episodes": self.episode,
            "reward": rewards[best],
            "mean_reward": math.fsum(rewards) / len(rewards),
            **self._measures(),
        }
        return Found(self.space.architecture(children[best]), progress.step, progress.seconds, facts)

    def _weight_step(self, batch: Tensors) -> None:
        step = self.progress.step
        episode = self.table.episode_of(step)
        begin = self.table.begin(episode)
        if self._drawn[0] != episode:
            # the controller stands still meanwhile, so that all children of the episode are drawn at once
            end = self.table.warm if episode < 0 else self.table.end(episode)
            self._drawn = episode, self._children(episode, end - begin, "weights")
        self.shared.child = self._drawn[1][step - begin]
        self.progress.set_lr()
        loss = self.arena.loss(self.model, batch)
        self.weights.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.arena.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.arena.recipe.clip_norm)
        self.weights.step()
        self.progress.add(loss.detach())

    def _children(self, episode: int, n: int, purpose: str = "scores") -> list[Child]:
        """Children of an episode; always the same ones while the controller is."""
        seed = int(derive(self.arena.seed, "search", purpose, episode).integers(2**62))
        return self.controller.draw(n, torch.Generator().manual_seed(seed)).children()

    def _score_if_due(self) -> None:
        while self.episode < self.table.episodes and self.progress.step >= self.table.end(self.episode):
            # before anything is scored
            self.progress.loss()
            children = self._children(self.episode, self.algorithm.samples)
            rewards = torch.tensor(self._scores(children), dtype=torch.float64)
            mean, update = float(rewards.mean()), self.algorithm.update
            before = mean if math.isnan(self.baseline) else self.baseline
            self.baseline = update.decay * before + (1 - update.decay) * mean
            against = self.baseline if update.with_present else before
            advantage = (rewards - against).clamp(-update.clip, update.clip).float()
            rng = derive(self.arena.seed, "search", "controller", self.episode)
            learn(self.controller, self.policy, children, advantage, update, rng)
            self.episode += 1
            best = children[int(rewards.argmax())]
            self._report(mean, float(rewards.max()), best)
            self.rewards = []
            self._keep()

    def _scores(self, children: list[Child]) -> list[float]:
        """Reward of each; those that a checkpoint has are not scored again."""
        # alike ones side by side, so that they share what they have in common
        order = sorted(range(len(children)), key=lambda number: tuple(zip(*children[number], strict=True)))
        for first in range(len(self.rewards), len(order), TOGETHER):
            self.rewards += self._score([children[number] for number in order[first : first + TOGETHER]])
            self._keep()
        found = dict(zip(order, self.rewards, strict=True))
        return [found[number] for number in range(len(children))]

    @torch.no_grad()
    def _score(self, children: list[Child]) -> list[float]:
        arena = self.arena
        dtype = autocast_dtype(arena.recipe.precision, arena.device)
        outputs: list[list[Tensor]] = [[] for _ in children]
        labels = []
        self.model.eval()
        for batch in ahead(self._plain_batch, range(len(self.looked))):
            moved = to_device(batch, arena.device)
            row = None if batch.row is None else torch.from_numpy(batch.row).to(arena.device)
            with torch.autocast(arena.device.type, dtype=dtype, enabled=dtype is not None):
                answers = self.shared.outputs(moved.x, children)
            for place, answer in zip(outputs, answers, strict=True):
                place.append(answer.float() if row is None else _mean_by_row(answer.float(), row))
            labels.append(moved.y)
        self.model.train()
        truth, rewards = torch.cat(labels), []
        for place in outputs:
            logits = torch.cat(place)
            if not bool(logits.isfinite().all()):
                raise TrainingError(
                    "search",
                    f"a child's outputs are not finite at step {self.progress.step} of {self.table.steps}. Lower the "
                    f"learning rate of the search's recipe, or set clip_norm",
                )
            rewards.append(macro_auroc(logits, truth))
        if math.isnan(rewards[0]):
            raise RunError(
                f"the {len(truth)} validation rows hold no class that is on some of them and not on others, so that no "
                f"child can be rewarded. Prepare more of the data"
            )
        return rewards

    def _plain_batch(self, number: int) -> Batch:
        return self.arena.preprocessing(self.arena.validation.take(self.looked[number]), None)

    def _measures(self) -> dict[str, float]:
        """The controller's entropy as a share of the greatest, and its share of skips, from a hundred draws."""
        drawn = self.controller.draw(100, torch.Generator().manual_seed(0))
        layers = self.controller.layout.layers
        most = max(1, layers * (layers - 1) // 2)
        return {
            "entropy": float(drawn.entropy.mean()) / self.controller.greatest_entropy(),
            "skip_share": float(drawn.skips.sum()) / (100 * most),
        }

    def _report(self, mean: float, greatest: float, best: Child) -> None:
        measures, architecture = self._measures(), self.space.architecture(best)
        details = {
            "best_error": 1 - greatest,
            "baseline": self.baseline,
            **measures,
            "architecture": self.space.to_json(architecture),
        }
        shown = {
            "controller's entropy": f"{measures['entropy']:.1%} of the greatest",
            "best of the episode": f"{architecture}, area under the ROC curve {greatest:.3f}",
        }
        self.progress.report(1 - mean, details, shown)

    def _keep(self, *, last: bool = False) -> None:
        """Write a checkpoint if the last one is old enough."""
        values = {"episode": self.episode, "baseline": self.baseline, "rewards": self.rewards}
        self.progress.keep(values, last=last)

    def _resume(self) -> None:
        state = self.progress.resume(("episode", "baseline", "rewards"))
        if state is not None:
            self.episode, self.baseline = int(state["episode"]), float(state["baseline"])
            self.rewards = list(state["rewards"])
        # an episode is told of once it is done, and its last step may be kept before
        self.progress.cut_log(self.table.end(self.episode - 1) if self.episode else 0)


def _mean_by_row(output: Tensor, row: Tensor) -> Tensor:
    """Mean over the inputs that are parts of a row: (inputs, k), (inputs,) → (rows, k)."""
    n = int(row[-1]) + 1
    total = torch.zeros(n, output.shape[1], device=output.device).index_add_(0, row, output)
    return total / torch.bincount(row, minlength=n).view(-1, 1)
