"""The models compared, as data: a recipe is an architecture and a schedule; ``build`` makes the network."""

import math
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from equivariant import EMLP, CoefficientDistribution, LieAlgebra, RandomGroupAction, V
from tasks.common.trainer import Back, Transform
from tasks.two_body.time_frame import Forecaster, TimeFrame

__all__ = ["OURS", "PAPER", "Recipe", "augment_windows", "build", "full_period", "mlp"]

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """How one kind of model is built and trained.

    Args:
        network: ``"none"`` (the linear forecast alone), ``"mlp"`` or ``"emlp"``.
        framed: correct a linear forecast over the time axis (``Forecaster``) instead of forecasting x itself.
        width: hidden width; for EMLP with ``vectors``, copies of V.
        vectors: hidden features are vectors only.
        layers: hidden layers.
        activation: of the MLP.
        augmented: draw one g per sample.
        deviation: standard deviation of w in augmentation as the paper has it; ``None`` draws w uniformly over one
            period.
        pull_back: compare g^-1 f(g x) with y, as the paper does, and not f(g x) with g y.
        steps: see ``Trainer``.
        batch_size: see ``Trainer``.
        learning_rate: see ``Trainer``.
        constant: see ``Trainer``.
        huber: ``huber_delta`` of the trainer in units of the residual of the linear forecast; ``None`` for the mean
            squared error.
    """

    network: str = "mlp"
    framed: bool = True
    width: int = 128
    vectors: bool = False
    layers: int = 3
    activation: str = "silu"
    augmented: bool = False
    deviation: float | None = None
    pull_back: bool = False
    steps: int = 2500
    batch_size: int = 512
    learning_rate: float = 3e-3
    constant: bool = False
    huber: float | None = 10.0

    @property
    def needs_symmetry(self) -> bool:
        """Whether an algebra goes into this model."""
        return self.augmented or self.network == "emlp"


OURS = {
    "time-linear": Recipe(network="none", steps=0),
    "MLP": Recipe(framed=False, huber=None),
    "MLP, framed": Recipe(),
    "augmentation": Recipe(augmented=True),
    "EMLP": Recipe(network="emlp", width=128, layers=2, steps=1500),
}


def _published(epochs: int, batch_size: int, **changes: object) -> Recipe:
    """An epoch is a pass over the 8954 windows of the published training set."""
    plain = Recipe(framed=False, constant=True, huber=None, learning_rate=1e-4, activation="relu")
    steps = epochs * math.ceil(8954 / batch_size)
    return replace(plain, steps=steps, batch_size=batch_size, **changes)  # type: ignore[arg-type]


PAPER = {
    "MLP": _published(2000, 512, width=40),
    "augmentation": _published(2000, 512, width=32, augmented=True, deviation=3.0, pull_back=True),
    "EMLP": _published(5000, 1000, network="emlp", width=5, vectors=True),
}


def build(recipe: Recipe, frame: TimeFrame, k: int, algebra: LieAlgebra | None, seed: int) -> nn.Module:
    """The network of a recipe, from flat (n, past * k) to flat (n, future * k).

    Args:
        recipe: architecture.
        frame: linear forecast over the time axis.
        k: size of one step.
        algebra: that an EMLP is equivariant under.
        seed: of the weights.

    Returns:
        The network.

    Raises:
        ValueError: for an EMLP without an algebra.
    """
    future, past = frame.base.shape
    copies = frame.n_patterns if recipe.framed else past
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = _network(recipe, copies, future, k, algebra)
    return Forecaster(net, frame, k) if recipe.framed else net


def mlp(sizes: list[int], activation: str = "silu") -> nn.Sequential:
    """Linear maps with an activation between them.

    Args:
        sizes: of the layers, input and output included.
        activation: ``"relu"`` or ``"silu"``.

    Returns:
        The network.
    """
    layers: list[nn.Module] = []
    for a, b in pairwise(sizes):
        layers += [nn.Linear(a, b), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


def full_period(algebra: LieAlgebra, deviation: float | None = None) -> LieAlgebra:
    """The same generators with coefficients over one period each, w uniform on [-pi, pi] / frequency.

    Args:
        algebra: a generator without an imaginary eigenvalue has no period and keeps its scale.
        deviation: standard deviation of a normal distribution to take instead.

    Returns:
        The algebra with the new distribution.
    """
    c = algebra.n_generators
    if deviation is not None:
        return _with_distribution(algebra, CoefficientDistribution.normal(c, deviation))
    frequency = torch.linalg.eigvals(algebra.basis.double()).imag.abs().amax(-1)
    scale = (
        algebra.distribution.scale
        if algebra.distribution.scale.ndim == 1
        else algebra.distribution.scale.norm(dim=1)
    )
    half = torch.where(frequency > 0, math.pi / frequency.clamp(min=1e-12), scale.double())
    return _with_distribution(algebra, CoefficientDistribution("uniform", torch.zeros_like(half), half))


def augment_windows(algebra: LieAlgebra, past: int, future: int, pull_back: bool = False) -> Transform:
    """Augmentation: one g for each sample, the same for all its steps.

    Args:
        algebra: to draw g from.
        past: steps of x.
        future: steps of y.
        pull_back: compare g^-1 f(g x) with y, instead of f(g x) with g y.

    Returns:
        A transform for ``Trainer.fit``.
    """
    exact = algebra.to(torch.float64)
    on_past, on_future = (RandomGroupAction(exact, steps * V) for steps in (past, future))

    def transform(x: Tensor, y: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor, Back]:
        g = (exact.sample(len(x), generator).to(x),)
        if pull_back:
            return on_past.act(g, x), y, lambda prediction: on_future.act_inverse(g, prediction)  # type: ignore[return-value]
        return on_past.act(g, x), on_future.act(g, y), lambda prediction: prediction  # type: ignore[return-value]

    return transform


class _Zero(nn.Module):
    """The network that corrects nothing."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        return x.new_zeros(len(x), self.size)


def _network(recipe: Recipe, copies: int, future: int, k: int, algebra: LieAlgebra | None) -> nn.Module:
    if recipe.network == "none":
        return _Zero(future * k)
    if recipe.network == "mlp":
        return mlp([copies * k, *[recipe.width] * recipe.layers, future * k], recipe.activation)
    if algebra is None:
        raise ValueError("an EMLP needs an algebra; give the discovered, the refined or the true one")
    hidden = recipe.width * V if recipe.vectors else recipe.width
    return EMLP(copies * V, future * V, algebra, hidden, recipe.layers)


def _with_distribution(algebra: LieAlgebra, distribution: CoefficientDistribution) -> LieAlgebra:
    provenance = {**algebra.provenance, "parent": algebra.digest}
    return LieAlgebra(
        algebra.basis, distribution, algebra.origin, algebra.coordinates, algebra.space, provenance
    )
