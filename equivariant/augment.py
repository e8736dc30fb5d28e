"""Symmetry without an equivariant model: (x, y) -> (g x, g y) in training, mean of g f(g^-1 x) at test time."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from equivariant.arrays import ArrayLike, as_floating
from equivariant.check import offset
from equivariant.expm import ClosedForm, OneParameterGroup, closed_form, one_parameter_group
from equivariant.group import Group, Symmetry, sample_elements
from equivariant.precision import ExactConstants
from equivariant.rep import Axis, Block, Rep

__all__ = ["GroupAverage", "RandomGroupAction"]


class RandomGroupAction(ExactConstants):
    """Acts on every sample by its own random g, the same g in every tensor; the identity in ``eval()``.

    To undo the action on a prediction, draw first: ``g = action.draw(n)``, ``action.act(g, x)``,
    ``action.act_inverse(g, prediction)``.

    Args:
        algebra: whose distribution the coefficients follow (or a ``Group``, or a sequence: a product).
        reps: how the last axis of each tensor is built, e.g. ``V, 5 * V, Scalar``.
        generator: source of randomness; default PyTorch's own. In a ``DataLoader`` every worker draws differently,
            from a seed made of this generator and of the one that the ``DataLoader`` gives the worker.

    Shapes:
        ``action(x, y, ...)`` with (n, ..., rep.size) each, or (rep.size,) each for one sample -> the same; one tensor
        for one rep, else a tuple.

    Raises:
        ValueError: for tensors of another number, length or size.

    Example:
        >>> from equivariant import V, catalogue
        >>> rotate = RandomGroupAction(catalogue.rotation(2), V, V, generator=torch.Generator().manual_seed(0))
        >>> x = torch.randn(4, 2)
        >>> rotated, target = rotate(x, 3 * x)
        >>> torch.allclose(target, 3 * rotated)
        True
    """

    def __init__(self, algebra: Symmetry, *reps: Rep, generator: torch.Generator | None = None):
        super().__init__()
        if not reps:
            raise ValueError(
                "expected a representation for each tensor, got none; e.g. RandomGroupAction(algebra, V)"
            )
        group = Group.of(algebra)
        self.reps, self.dims, self.generator = reps, group.dims, generator
        self._worker_seed: int | None = None
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
        """Random group elements.

        Args:
            n: how many.
            dtype: of the elements; default PyTorch's default dtype.

        Returns:
            A tensor (n, k, k) for each factor, on this module's device.
        """
        dtype = torch.get_default_dtype() if dtype is None else dtype
        elements, generator = [], self._own_generator()
        for f, (kind, form) in enumerate(zip(self._kinds, self._forms, strict=True)):
            names = ("basis", "mean", "scale", "discrete")
            basis, mean, scale, discrete = (self.get_buffer(f"{name}_{f}").to(dtype) for name in names)
            elements.append(sample_elements(kind, basis, mean, scale, discrete, n, generator, form))
        return tuple(elements)

    def _own_generator(self) -> torch.Generator | None:
        """The generator; in a worker of a ``DataLoader``, which holds a copy, one that differs between workers."""
        worker = get_worker_info()
        if worker is not None and self.generator is not None and self._worker_seed != worker.seed:
            shared = int(torch.randint(2**62, (), generator=self.generator, device=self.generator.device))
            seed = (shared + worker.seed) % 2**63
            self.generator = torch.Generator(self.generator.device).manual_seed(seed)
            self._worker_seed = worker.seed
        return self.generator

    def act(self, g: tuple[Tensor, ...], *tensors: ArrayLike) -> Tensor | tuple[Tensor, ...]:
        """g applied to every tensor, each in its own representation, about the origin.

        Args:
            g: elements as ``draw`` gives them.
            *tensors: one (n, ..., rep.size) for each representation.

        Returns:
            The same as a call: one tensor for one representation, else a tuple.
        """
        if len(tensors) != len(self.reps):
            raise ValueError(f"expected {len(self.reps)} tensors, one per representation, got {len(tensors)}")
        transformed = []
        for i, (rep, tensor) in enumerate(zip(self.reps, map(as_floating, tensors), strict=True)):
            rep.check(tensor, self.dims)
            origin = self.get_buffer(f"origin_{i}").to(tensor.dtype)
            transformed.append(rep.act(tuple(e.to(tensor.dtype) for e in g), tensor - origin) + origin)
        return transformed[0] if len(transformed) == 1 else tuple(transformed)

    def act_inverse(self, g: tuple[Tensor, ...], *tensors: ArrayLike) -> Tensor | tuple[Tensor, ...]:
        """g^-1 applied to every tensor.

        Args:
            g: elements as ``draw`` gives them.
            *tensors: one (n, ..., rep.size) for each representation.
        """
        return self.act(tuple(torch.linalg.inv(e) for e in g), *tensors)

    def forward(self, *tensors: ArrayLike) -> Tensor | tuple[Tensor, ...]:
        given = tuple(map(as_floating, tensors))
        if not self.training:
            return given[0] if len(given) == 1 else given
        if given and all(tensor.ndim == 1 for tensor in given):
            transformed = self.forward(*(tensor.unsqueeze(0) for tensor in given))
            return (
                transformed[0]
                if isinstance(transformed, Tensor)
                else tuple(tensor[0] for tensor in transformed)
            )
        sizes = {len(tensor) if tensor.ndim > 1 else 1 for tensor in given}
        if len(sizes) != 1:
            raise ValueError(f"every tensor must hold the same samples, got {sorted(sizes)} of them")
        return self.act(self.draw(sizes.pop(), given[0].dtype), *given)

    def extra_repr(self) -> str:
        return ", ".join(map(str, self.reps))


class GroupAverage(ExactConstants):
    r"""Any model made equivariant by averaging, (A f)(x) = mean_s g_s f(g_s^-1 x).

    *One generator of a compact group* (a rotation with commensurate frequencies, the case of ``4*so(2)``): exact.
    The elements are a uniform grid of angles combined with a frame of x, an element gamma(x) with
    gamma(g x) = g gamma(x) (Puny et al. 2022, arXiv 2110.03336):

    .. math:: (A f)(x) = \mathrm{mean}_s\, \gamma g_s f((\gamma g_s)^{-1} x), \quad \gamma = \gamma(x)

    gamma rotates the largest component of x of lowest frequency to phase zero. The average is then equivariant up to
    rounding for every model and every number of samples; where x has no such component gamma is the identity.

    *Any other algebra*: fixed draws from its distribution, and the average is only as equivariant as they are many,
    with error about |f(g x) - g f(x)| / sqrt(samples); ``exact`` is False. Measure it by ``equivariance_error``.

    Args:
        model: maps (m, rep_in.size) to (m, rep_out.size).
        algebra: a ``LieAlgebra``, a ``Group``, or a sequence of them (a product).
        rep_in: how the last axis of the model's input is built.
        rep_out: how the last axis of the model's output is built.
        samples: number of elements; rounded up where several elements fix the phase of the frame.
        generator: source of the draws, which are made once, here, and saved in the state dict.

    Shapes:
        x (n, rep_in.size), or (rep_in.size,) for one sample -> (n, rep_out.size) or (rep_out.size,).

    Example:
        >>> from equivariant import V, catalogue, equivariance_error
        >>> model = torch.nn.Linear(2, 2).double()
        >>> averaged = GroupAverage(model, catalogue.rotation(2), V, V)
        >>> x = torch.randn(8, 2).double()
        >>> averaged.exact, equivariance_error(averaged, catalogue.rotation(2), V, V, x) < 1e-12
        (True, True)
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
            raise ValueError(f"samples must be at least 1, got {samples}")
        group = Group.of(algebra)
        self.model, self.rep_in, self.rep_out, self.dims = model, rep_in, rep_out, group.dims
        self.register_buffer("origin_in", offset(rep_in, group))
        self.register_buffer("origin_out", offset(rep_out, group))
        self._subgroup = _compact_subgroup(group, rep_in)
        if self._subgroup is None:
            elements = group.sample(samples, generator)
        else:
            # as many angles as a multiple of the lowest order: what gamma is not fixed by then only permutes them
            order = int(self._subgroup.orders[0])
            angles = torch.arange(-(-samples // order) * order, dtype=torch.float64, device=group.device)
            elements = (self._subgroup.element(angles * (2 * torch.pi / len(angles))),)
        for f, element in enumerate(elements):
            self.register_buffer(f"elements_{f}", element.double())

    def _same_group(self, name: str, own: Tensor, given: Tensor) -> bool:
        return not (self.exact and name == "elements_0") or torch.allclose(given, own, atol=1e-4)

    @property
    def exact(self) -> bool:
        """Whether the average is equivariant up to rounding, whatever the number of samples."""
        return self._subgroup is not None

    def forward(self, x: ArrayLike) -> Tensor:
        x = as_floating(x)
        self.rep_in.check(x, self.dims)
        if x.ndim == 1:
            return self.forward(x.unsqueeze(0)).squeeze(0)
        if x.ndim != 2:
            raise ValueError(f"x must have shape (n, {self.rep_in.size(self.dims)}), got {tuple(x.shape)}")
        before, after = (self.get_buffer(name).to(x.dtype) for name in ("origin_in", "origin_out"))
        elements = [self.get_buffer(f"elements_{f}").to(x.dtype).unsqueeze(1) for f in range(len(self.dims))]
        if self._subgroup is not None:
            elements = [self.frame(x - before) @ elements[0]]
        g = [e.expand(-1, len(x), -1, -1) for e in elements]
        transformed = self.rep_in.act(
            [torch.linalg.inv(e) for e in g], (x - before).expand(len(g[0]), -1, -1)
        )
        answers = self.model((transformed + before).flatten(0, 1)).unflatten(0, (-1, len(x)))
        return (self.rep_out.act(g, answers - after) + after).mean(0)

    def frame(self, x: Tensor) -> Tensor:
        """gamma(x) with gamma(g x) = g gamma(x), up to an element that permutes the grid of angles.

        Args:
            x: shape (n, rep_in.size), relative to the origin.

        Returns:
            Elements (n, k, k).

        Raises:
            ValueError: where the group is not one compact one-parameter group.
        """
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
