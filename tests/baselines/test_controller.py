"""The controller: its probabilities against enumeration, its gradient against finite differences, its prior."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from nas360.baselines.algorithms.controller import Controller, ControllerSettings
from nas360.baselines.algorithms.enas import REFERENCE_UPDATE, PolicyUpdate
from nas360.baselines.algorithms.enas_search import learn, policy_loss
from nas360.baselines.spaces.layered import Child, Layout
from nas360.errors import RunError

TINY = Layout(layers=3, operations=2)


def controller(layout: Layout = TINY, seed: int = 0, start: float = 1.0) -> Controller:
    """With large weights, so that its choices are far from even and hang on one another."""
    torch.manual_seed(seed)
    return Controller(layout, ControllerSettings(units=8, start=start))


def everything(layout: Layout) -> list[Child]:
    """All architectures of a layout."""
    pairs = [(layer, source) for layer in range(layout.layers) for source in range(layer)]
    found = []
    for operations in itertools.product(range(layout.operations), repeat=layout.layers):
        for bits in itertools.product((False, True), repeat=len(pairs)):
            on = {pair for pair, bit in zip(pairs, bits, strict=True) if bit}
            skips = tuple(tuple(j for j in range(i) if (i, j) in on) for i in range(layout.layers))
            found.append(Child(operations, skips))
    return found


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("layout", [TINY, Layout(1, 5), Layout(2, 3), Layout(4, 1)])
def test_the_probabilities_of_all_architectures_sum_to_one(layout: Layout) -> None:
    with torch.no_grad():
        judged = controller(layout).double().judge(everything(layout))
    assert len(judged) == layout.operations**layout.layers * 2 ** (layout.layers * (layout.layers - 1) // 2)
    assert float(judged.log_probability.exp().sum()) == pytest.approx(1, abs=1e-12)


def test_what_is_drawn_is_judged_alike() -> None:
    network = controller(Layout(5, 7))
    drawn = network.draw(50, generator())
    judged = network.judge(drawn.children())
    for name in ("operations", "skips"):
        assert torch.equal(getattr(drawn, name), getattr(judged, name))
    for name in ("log_probability", "entropy", "divergence"):
        torch.testing.assert_close(getattr(drawn, name), getattr(judged, name).detach())


def test_architectures_are_drawn_as_often_as_is_said() -> None:
    network, all_of_them, n = controller(), everything(TINY), 20_000
    drawn = network.draw(n, generator()).children()
    with torch.no_grad():
        p = network.judge(all_of_them).log_probability.double().exp().numpy()
    counts = np.array([drawn.count(child) for child in all_of_them])
    # chi-square of 63 degrees of freedom: 115 is passed once in 15,000 times
    assert float(((counts - n * p) ** 2 / (n * p)).sum()) < 115
    assert p.max() > 10 * p.min()


def test_entropy_is_that_of_the_whole_distribution() -> None:
    with torch.no_grad():
        judged = controller().double().judge(everything(TINY))
    p = judged.log_probability.exp()
    # by the chain rule the mean over architectures of the entropies along their way
    assert float((p * judged.entropy).sum()) == pytest.approx(-float((p * judged.log_probability).sum()))
    flat = controller(start=1e-9)
    assert float(flat.draw(3, generator()).entropy[0]) == pytest.approx(flat.greatest_entropy())
    assert flat.greatest_entropy() == pytest.approx(3 * math.log(2) + 3 * math.log(2))


def test_divergence_from_the_prior_by_hand() -> None:
    layout = Layout(2, 1)
    network = controller(layout)
    with torch.no_grad():
        judged = network.judge([Child((0, 0), ((), (0,))), Child((0, 0), ((), ()))])
    p = float(judged.log_probability[0].exp())
    assert float(judged.log_probability[1].exp()) == pytest.approx(1 - p)
    by_hand = p * math.log(p / 0.4) + (1 - p) * math.log((1 - p) / 0.6)
    assert judged.divergence.tolist() == pytest.approx([by_hand, by_hand], rel=1e-4)
    # a skip's logits are within ± 1.5, those of the two answers apart by at most 3
    assert abs(math.log(p / (1 - p))) <= 3


def test_logits_are_bounded() -> None:
    network = controller(Layout(1, 2), start=50.0)
    with torch.no_grad():
        p = network.judge(everything(Layout(1, 2))).log_probability.exp()
    assert float(p.max() / p.min()) <= math.exp(3) * (1 + 1e-5)
    assert float(p.max() / p.min()) > 1.01


def test_the_policy_gradient_is_that_of_the_expected_reward() -> None:
    """On a bandit of 64 arms, with every arm as often as it is drawn: against finite differences."""
    network, arms = controller().double(), everything(TINY)
    rewards = torch.rand(len(arms), generator=generator(1), dtype=torch.float64)
    parameters = list(network.parameters())

    def expected() -> Tensor:
        with torch.no_grad():
            return (network.judge(arms).log_probability.exp() * rewards).sum()

    judged = network.judge(arms)
    weight = judged.log_probability.detach().exp()
    baseline = 0.37  # changes the variance of a sample, not the expectation
    gradients = torch.autograd.grad(
        policy_loss(judged, weight * (rewards - baseline), 0.0), parameters, allow_unused=True
    )
    directions = [torch.randn(p.shape, generator=generator(2), dtype=torch.float64) for p in parameters]
    values, h = [], 1e-5
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.add_(direction, alpha=sign * h)
            values.append(float(expected()))
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter.sub_(direction, alpha=sign * h)
    along = sum(float((g * d).sum()) for g, d in zip(gradients, directions, strict=True) if g is not None)
    assert -along == pytest.approx((values[0] - values[1]) / (2 * h), rel=1e-6)
    assert abs(along) > 1e-3


def search(layout: Layout, reward: Tensor, seed: int, update: PolicyUpdate, episodes: int, n: int = 20) -> Controller:
    """A bandit: `reward` (layers, operations) is summed over the choices, with noise."""
    torch.manual_seed(seed)
    network = Controller(layout, ControllerSettings())
    adam = torch.optim.Adam(network.parameters(), update.lr)
    draws, rng, baseline = generator(seed), np.random.default_rng(seed), 0.0
    for episode in range(episodes):
        drawn = network.draw(n, draws)
        rewards = reward.gather(1, drawn.operations.T).sum(dim=0) + 0.01 * torch.randn(n, generator=draws)
        mean = float(rewards.mean())
        baseline = mean if episode == 0 else update.decay * baseline + (1 - update.decay) * mean
        learn(network, adam, drawn.children(), rewards - baseline, update, rng)
    return network


def test_the_best_token_is_found_in_four_of_five_seeds() -> None:
    layout, update = Layout(2, 5), PolicyUpdate(lr=0.01, stop=0.1)
    found = 0
    for seed in range(5):
        reward = torch.zeros(2, 5)
        best = seed % 5, (2 * seed + 1) % 5
        reward[0, best[0]] = reward[1, best[1]] = 0.2
        drawn = search(layout, reward, seed, update, episodes=8).draw(200, generator()).operations
        found += tuple(drawn.mode(dim=0).values.tolist()) == best
    assert found >= 4


@pytest.mark.parametrize("skips", [((), (), (), ()), ((), (0,), (0, 1), (0, 1, 2))])
def test_the_prior_pulls_skips_to_two_fifths(skips: tuple[tuple[int, ...], ...]) -> None:
    """From few and from many; rewards say nothing."""
    torch.manual_seed(0)
    network = Controller(Layout(4, 2), ControllerSettings())
    adam, rng, draws = torch.optim.Adam(network.parameters(), 0.01), np.random.default_rng(0), generator()

    def share() -> float:
        return float(network.draw(2000, draws).skips.sum()) / (2000 * 6)

    for _ in range(20):  # not to the end of the bounded logits, where nothing pulls any more
        if abs(share() - 0.4) < 0.25:
            learn(network, adam, [Child((0,) * 4, skips)] * 20, torch.ones(20), PolicyUpdate(passes=1), rng)
    assert abs(share() - 0.4) > 0.25
    # a fresh one: Adam goes on for long in the way that it came
    adam = torch.optim.Adam(network.parameters(), 0.01)
    learn(network, adam, network.draw(20, draws).children(), torch.zeros(20), PolicyUpdate(passes=60, stop=None), rng)
    assert share() == pytest.approx(0.4, abs=0.03)


def test_passes_end_when_the_children_have_become_unlikely() -> None:
    def updates(stop: float | None) -> int:
        network = controller(Layout(3, 4), start=0.1)
        adam = torch.optim.Adam(network.parameters(), 0.05)
        children = network.draw(20, generator()).children()
        learn(network, adam, children, -torch.ones(20), PolicyUpdate(stop=stop, batch=10), np.random.default_rng(0))
        return int(adam.state[network.start]["step"])

    assert updates(None) == updates(1e9) == 20
    assert updates(0.01) == 4  # the second pass sees it


def test_the_reference_s_settings_have_a_name() -> None:
    assert (REFERENCE_UPDATE.decay, REFERENCE_UPDATE.with_present, REFERENCE_UPDATE.stop) == (0.0, False, None)


def test_drawing_belongs_to_its_generator() -> None:
    network, before = controller(), torch.get_rng_state()
    first, again, other = (network.draw(20, generator(seed)).children() for seed in (3, 3, 4))
    assert first == again != other
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": 0}, "units 0 must be at least 1"),
        ({"skip_share": 1.0}, r"the share of skips 1.0 in \(0, 1\)"),
        ({"temperature": 0.0}, "temperature 0.0 of the controller"),
        ({"tanh_constant": float("inf")}, "tanh constant inf"),
    ],
)
def test_settings_that_make_no_controller(change: dict[str, float], message: str) -> None:
    with pytest.raises(RunError, match=message):
        ControllerSettings(**change)  # type: ignore[arg-type]  # mypy cannot know which
