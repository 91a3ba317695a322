"""One search by ENAS: the state that a checkpoint holds, and its steps; see `enas.Enas`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from nas360.baselines.algorithms.base import Arena, Found
from nas360.baselines.algorithms.controller import Controller, Drawn
from nas360.baselines.algorithms.enas_reward import macro_auroc
from nas360.baselines.device import autocast_dtype, random_state, restore_random_state
from nas360.baselines.failure import TrainingError
from nas360.baselines.feed import Feed, Tensors, to_device
from nas360.baselines.spaces.layered import Child
from nas360.baselines.train import Keeping
from nas360.baselines.watch import Report
from nas360.errors import RunError
from nas360.loaders.ahead import ahead
from nas360.loaders.base import Batch
from nas360.seeding import derive

if TYPE_CHECKING:
    from nas360.baselines.algorithms.enas import Enas, PolicyUpdate

LEAST_ROWS = 256
"""Validation rows that a look scores on at least, where there are as many."""

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
        self.step, self.episode, self.seconds = 0, 0, 0.0
        self.baseline = math.nan
        self.rewards: list[float] = []
        self.sum = torch.zeros((), dtype=torch.float64, device=arena.device)
        self.count = 0
        self._drawn: tuple[int, list[Child]] = (-2, [])
        self._saved = self._began = time.monotonic()
        self._before = 0.0

    def _validation_parts(self, size: int) -> list[np.ndarray[Any, np.dtype[np.int64]]]:
        """Rows of a look, in equal parts of about the batch size: norms go by a part's statistics."""
        n = len(self.arena.validation)
        chosen = max(min(n, LEAST_ROWS), round(n * self.algorithm.validation_share))
        order = derive(self.arena.seed, "search", "validation").permutation(n)[:chosen]
        return np.array_split(order, max(1, round(chosen / size)))

    def run(self) -> Found:
        """Search to the last step, from wherever the last checkpoint left it."""
        arena, table = self.arena, self.table
        self._resume()
        self._began, self._before = time.monotonic(), self.seconds
        self.model.train()
        lr = self._lr(max(0, self.step - 1))
        self._score_if_due(lr)
        for batch in self.feed.steps(self.step, table.steps):
            lr = self._weight_step(to_device(batch, arena.device))
            self.step += 1
            arena.watcher.step(self.step, table.steps, "search")
            self._keep()
            self._score_if_due(lr)
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
        return Found(self.space.architecture(children[best]), self.step, self.seconds, facts)

    def _lr(self, step: int) -> float:
        recipe = self.arena.recipe
        factor = recipe.schedule.factor(step, max(1, self.feed.steps_per_epoch), self.table.steps)
        return recipe.optimiser.lr * factor

    def _weight_step(self, batch: Tensors) -> float:
        episode = self.table.episode_of(self.step)
        begin = self.table.begin(episode)
        if self._drawn[0] != episode:
            # the controller stands still meanwhile, so that all children of the episode are drawn at once
            end = self.table.warm if episode < 0 else self.table.end(episode)
            self._drawn = episode, self._children(episode, end - begin, "weights")
        self.shared.child = self._drawn[1][self.step - begin]
        lr = self._lr(self.step)
        for group in self.weights.param_groups:
            group["lr"] = lr
        loss = self.arena.loss(self.model, batch)
        self.weights.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        if self.arena.recipe.clip_norm is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.arena.recipe.clip_norm)
        self.weights.step()
        self.sum += loss.detach()
        self.count += 1
        return lr

    def _children(self, episode: int, n: int, purpose: str = "scores") -> list[Child]:
        """Children of an episode; always the same ones while the controller is."""
        seed = int(derive(self.arena.seed, "search", purpose, episode).integers(2**62))
        return self.controller.draw(n, torch.Generator().manual_seed(seed)).children()

    def _score_if_due(self, lr: float) -> None:
        while self.episode < self.table.episodes and self.step >= self.table.end(self.episode):
            self._check_finite(lr)
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
            self._report(lr, mean, float(rewards.max()), best)
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
                    f"a child's outputs are not finite at step {self.step} of {self.table.steps}. Lower the learning "
                    f"rate of the search's recipe, or set clip_norm",
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

    def _check_finite(self, lr: float) -> None:
        if not math.isfinite(float(self.sum)):
            raise TrainingError(
                "search",
                f"the search's loss stopped being finite by step {self.step} of {self.table.steps} (learning rate "
                f"{lr:g}). Lower the learning rate of the search's recipe, or set clip_norm",
            )

    def _measures(self) -> dict[str, float]:
        """The controller's entropy as a share of the greatest, and its share of skips, from a hundred draws."""
        drawn = self.controller.draw(100, torch.Generator().manual_seed(0))
        layers = self.controller.layout.layers
        most = max(1, layers * (layers - 1) // 2)
        return {
            "entropy": float(drawn.entropy.mean()) / self.controller.greatest_entropy(),
            "skip_share": float(drawn.skips.sum()) / (100 * most),
        }

    def _report(self, lr: float, mean: float, greatest: float, best: Child) -> None:
        arena, measures = self.arena, self._measures()
        loss = float(self.sum) / max(1, self.count)
        epoch = self.step / max(1, self.feed.steps_per_epoch)
        architecture = self.space.architecture(best)
        if arena.keeping is not None and arena.keeping.log is not None:
            entry = {
                "step": self.step,
                "epoch": round(epoch, 4),
                "loss": loss,
                "lr": lr,
                "validation_error": 1 - mean,
                "best_error": 1 - greatest,
                "baseline": self.baseline,
                **measures,
                "architecture": self.space.to_json(architecture),
                "seconds": round(self.seconds, 3),
            }
            arena.keeping.log.append(entry)
        self.sum.zero_()
        self.count = 0
        shown = {
            "controller's entropy": f"{measures['entropy']:.1%} of the greatest",
            "best of the episode": f"{architecture}, area under the ROC curve {greatest:.3f}",
        }
        arena.watcher.report(
            Report(self.step, self.table.steps, epoch, loss, lr, 1 - mean, self.seconds, stage="search", shown=shown)
        )

    def _keep(self, *, last: bool = False) -> None:
        """Write a checkpoint if the last one is old enough."""
        now, keeping = time.monotonic(), self.arena.keeping
        self.seconds = self._before + now - self._began
        if keeping is not None and (last or now - self._saved >= keeping.epoch_seconds):
            self._save(keeping)
            self._saved = now

    def _save(self, keeping: Keeping) -> None:
        keeping.checkpoints.save(
            {
                "step": self.step,
                "episode": self.episode,
                "seconds": self.seconds,
                "baseline": self.baseline,
                "rewards": self.rewards,
                "sum": self.sum,
                "count": self.count,
                "model": self.model.state_dict(),
                "weights": self.weights.state_dict(),
                "controller": self.controller.state_dict(),
                "policy": self.policy.state_dict(),
                "random": random_state(self.arena.device),
            }
        )

    def _resume(self) -> None:
        keeping = self.arena.keeping
        if keeping is None:
            return
        state, warnings = keeping.checkpoints.load(self.arena.device)
        for warning in warnings:
            self.arena.watcher.note(warning)
        if state is not None:
            self._restore(state)
            self.arena.watcher.note(f"search taken up at step {self.step} of {self.table.steps}")
        if keeping.log is not None:
            # an episode is told of once it is done, and its last step may be kept before
            keeping.log.cut(self.table.end(self.episode - 1) if self.episode else 0)

    def _restore(self, state: dict[str, Any]) -> None:
        self.model.load_state_dict(state["model"])
        self.weights.load_state_dict(state["weights"])
        self.controller.load_state_dict(state["controller"])
        self.policy.load_state_dict(state["policy"])
        restore_random_state(state["random"], self.arena.device)
        self.step, self.episode, self.count = int(state["step"]), int(state["episode"]), int(state["count"])
        self.seconds, self.baseline = float(state["seconds"]), float(state["baseline"])
        self.rewards, self.sum = list(state["rewards"]), state["sum"].to(self.arena.device)


def _mean_by_row(output: Tensor, row: Tensor) -> Tensor:
    """Mean over the inputs that are parts of a row: (inputs, k), (inputs,) → (rows, k)."""
    n = int(row[-1]) + 1
    total = torch.zeros(n, output.shape[1], device=output.device).index_add_(0, row, output)
    return total / torch.bincount(row, minlength=n).view(-1, 1)
