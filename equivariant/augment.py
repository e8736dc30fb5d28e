"""Symmetry without an equivariant model: (x, y) -> (g x, g y) in training, mean of g f(g^-1 x) at test time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from equivariant.check import offset
from equivariant.expm import ClosedForm, OneParameterGroup, closed_form, one_parameter_group
from equivariant.group import Group, Symmetry, sample_elements
from equivariant.precision import ExactConstants
from equivariant.rep import Axis, Block, Rep

__all__ = ["GroupAverage", "RandomGroupAction"]


class RandomGroupAction(ExactConstants):
    """Moves every sample by its own random g, the same g in every tensor; the identity in ``eval()``.

    Args:
        algebra: whose distribution the coefficients follow (or a ``Group``, or a sequence: a product).
        reps: how the last axis of each tensor is built, e.g. ``V, 5 * V, Scalar``.
        generator: source of randomness; default PyTorch's own, which DataLoader seeds in each worker.

    Shapes: ``action(x, y, ...)`` with (n, ..., rep.size) each -> the same; one tensor for one rep, else a tuple.
    For a prediction turned back, draw first: ``g = action.draw(n)``, ``action.act(g, x)``,
    ``action.act_inverse(g, ...)``.
    """

    def __init__(self, algebra: Symmetry, *reps: Rep, generator: torch.Generator | None = None):
        super().__init__()
        if not reps:
            raise ValueError(
                "wanted a representation for each tensor, got none; e.g. RandomGroupAction(algebra, V)"
            )
        group = Group.of(algebra)
        self.reps, self.dims, self.generator = reps, group.dims, generator
        self._kinds = [factor.algebra.distribution.kind for factor in group.factors]
        for f, factor in enumerate(group.factors):
            distribution = factor.algebra.distribution
            named = {"basis": factor.algebra.basis, "mean": distribution.mean, "scale": distribution.scale}
            for name, tensor in {**named, "discrete": factor.discrete}.items():
                self.register_buffer(f"{name}_{f}", tensor.double())
        for i, rep in enumerate(reps):
            self.register_buffer(f"origin_{i}", offset(rep, group))
        self._forms = self._closed_forms()

    def _closed_forms(self) -> list[ClosedForm | None]:
        return [closed_form(self.get_buffer(f"basis_{f}")) for f in range(len(self.dims))]

    def _load_from_state_dict(self, *args: Any, **kwargs: Any) -> None:
        """A state dict may hold another algebra, and that another closed form."""
        super()._load_from_state_dict(*args, **kwargs)
        self._forms = self._closed_forms()

    def draw(self, n: int, dtype: torch.dtype | None = None) -> tuple[Tensor, ...]:
        """n elements of each factor (n, k, k), on this module's device."""
        dtype = torch.get_default_dtype() if dtype is None else dtype
        elements = []
        for f, (kind, form) in enumerate(zip(self._kinds, self._forms, strict=True)):
            names = ("basis", "mean", "scale", "discrete")
            basis, mean, scale, discrete = (self.get_buffer(f"{name}_{f}").to(dtype) for name in names)
            elements.append(sample_elements(kind, basis, mean, scale, discrete, n, self.generator, form))
        return tuple(elements)

    def act(self, g: tuple[Tensor, ...], *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Every tensor moved by g, each in its own representation, about the origin."""
        if len(tensors) != len(self.reps):
            raise ValueError(f"wanted {len(self.reps)} tensors, one per representation, got {len(tensors)}")
        moved = []
        for i, (rep, tensor) in enumerate(zip(self.reps, tensors, strict=True)):
            rep.check(tensor, self.dims)
            origin = self.get_buffer(f"origin_{i}").to(tensor.dtype)
            moved.append(rep.act(tuple(e.to(tensor.dtype) for e in g), tensor - origin) + origin)
        return moved[0] if len(moved) == 1 else tuple(moved)

    def act_inverse(self, g: tuple[Tensor, ...], *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Every tensor moved by g^-1."""
        return self.act(tuple(torch.linalg.inv(e) for e in g), *tensors)

    def forward(self, *tensors: Tensor) -> Tensor | tuple[Tensor, ...]:
        if not self.training:
            return tensors[0] if len(tensors) == 1 else tensors
        sizes = {len(tensor) for tensor in tensors}
        if len(sizes) != 1:
            raise ValueError(f"every tensor must hold the same samples, got {sorted(sizes)} of them")
        return self.act(self.draw(sizes.pop(), tensors[0].dtype), *tensors)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.reps))


class GroupAverage(ExactConstants):
    r"""Any model made equivariant by averaging, (A f)(x) = mean_s g_s f(g_s^-1 x).

    *One generator of a compact group* (a rotation with commensurate frequencies, the case of ``4*so(2)``): exact.
    The draws are a uniform grid of angles turned by a frame of x, an element gamma(x) with
    gamma(g x) = g gamma(x) (Puny et al. 2022, arXiv 2110.03336):

    .. math:: (A f)(x) = \mathrm{mean}_s\, \gamma g_s f((\gamma g_s)^{-1} x), \quad \gamma = \gamma(x)

    gamma turns the largest component of x of lowest frequency to phase zero. The average is then equivariant up to
    rounding for every model and every number of samples; where x has no such component gamma is the identity.

    *Any other algebra*: fixed draws from its distribution, and the average is only as equivariant as they are many,
    with error about |f(g x) - g f(x)| / sqrt(samples); ``exact`` is False. Measure it by ``equivariance_error``.

    Args:
        model: maps (m, rep_in.size) to (m, rep_out.size).
        algebra, rep_in, rep_out: of the model's input and output.
        samples: number of elements; rounded up where the frame is only fixed up to a few turns.
        generator: source of the draws, which are made once, here, and saved in the state dict.
    """

    elements: Tensor

    def __init__(
        self,
        model: Callable[[Tensor], Tensor],
        algebra: Symmetry,
        rep_in: Rep,
        rep_out: Rep,
        samples: int = 16,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if samples < 1:
            raise ValueError(f"samples must be positive, got {samples}")
        group = Group.of(algebra)
        self.model, self.rep_in, self.rep_out, self.dims = model, rep_in, rep_out, group.dims
        self.register_buffer("origin_in", offset(rep_in, group))
        self.register_buffer("origin_out", offset(rep_out, group))
        self._subgroup = _compact_subgroup(group, rep_in)
        if self._subgroup is None:
            elements = group.sample(samples, generator)
        else:
            # as many angles as a whole number of folds: turning gamma by one fold then only permutes them
            folds = int(self._subgroup.orders[0])
            angles = torch.arange(-(-samples // folds) * folds, dtype=torch.float64, device=group.device)
            elements = (self._subgroup.element(angles * (2 * torch.pi / len(angles))),)
        for f, element in enumerate(elements):
            self.register_buffer(f"elements_{f}", element.double())

    @property
    def exact(self) -> bool:
        """Whether the average is equivariant up to rounding, whatever the number of samples."""
        return self._subgroup is not None

    def forward(self, x: Tensor) -> Tensor:
        self.rep_in.check(x, self.dims)
        if x.ndim != 2:
            raise ValueError(f"x must have shape (n, {self.rep_in.size(self.dims)}), got {tuple(x.shape)}")
        before, after = (self.get_buffer(name).to(x.dtype) for name in ("origin_in", "origin_out"))
        elements = [self.get_buffer(f"elements_{f}").to(x.dtype).unsqueeze(1) for f in range(len(self.dims))]
        if self._subgroup is not None:
            elements = [self.frame(x - before) @ elements[0]]
        g = [e.expand(-1, len(x), -1, -1) for e in elements]
        turned = self.rep_in.act([torch.linalg.inv(e) for e in g], (x - before).expand(len(g[0]), -1, -1))
        answers = self.model((turned + before).flatten(0, 1)).unflatten(0, (-1, len(x)))
        return (self.rep_out.act(g, answers - after) + after).mean(0)

    def frame(self, x: Tensor) -> Tensor:
        """gamma(x) (n, k, k) with gamma(g x) = g gamma(x) up to one fold; x (n, size) counts from the origin."""
        subgroup = self._subgroup
        if subgroup is None:
            raise ValueError("only a compact one-parameter group has a frame here; see GroupAverage.exact")
        vectors = torch.cat(
            [x[:, b.start : b.stop].unflatten(1, (-1, subgroup.fixed.shape[0])) for b in self._vectors()], 1
        )
        cosine = (vectors @ subgroup.cosines[0].to(x).mT).flatten(1)
        sine = (vectors @ subgroup.sines[0].to(x).mT).flatten(1)
        largest = (cosine.square() + sine.square()).argmax(dim=1, keepdim=True)
        phase = torch.atan2(-sine.gather(1, largest), cosine.gather(1, largest)).squeeze(1)
        return subgroup.to(x).element(phase / subgroup.orders[0].to(x))

    def _vectors(self) -> list[Block]:
        return [block for block in self.rep_in.blocks(self.dims) if block.term == (Axis(),)]


def _compact_subgroup(group: Group, rep_in: Rep) -> OneParameterGroup | None:
    """The closed form of the group where it is one compact generator and x holds a vector to measure it by."""
    if (
        len(group.factors) != 1
        or len(group.factors[0].finite)
        or (Axis(),) not in [t for _, t in rep_in.terms]
    ):
        return None
    L = group.factors[0].continuous
    return one_parameter_group(L[0]) if len(L) == 1 else None
