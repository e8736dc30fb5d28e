"""Pictures of a latent symmetry: orbits in the data and the latent space, trajectories, errors of forecasts."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from discover.algebra.draw import QUIET
from discover.latent.symmetry import LatentSymmetry
from tasks.common.plots import colour, legend, panels
from tasks.latent.data import Trajectories
from tasks.latent.metrics import rotation_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "animate_orbit", "draw_forecasts", "draw_group_action", "draw_latent_motion", "draw_snapshot", "period",
    "shortened",
]  # fmt: skip

MAX_POINTS = 1500  # of a scatter plot
MAX_ERROR = 10.0  # larger errors are drawn there


def period(symmetry: LatentSymmetry, generator: int = 0) -> float:
    """The coefficient after which exp(w L) returns; 1 where L does not rotate."""
    rate = rotation_rate(symmetry.algebra, generator)
    return 2 * math.pi / rate if rate > 1e-6 else 1.0


@torch.no_grad()
def draw_latent_motion(symmetry: LatentSymmetry, data: Trajectories, most: int = 8) -> "Figure":
    """Encoded trajectories.

    Args:
        symmetry: its encoder is used.
        data: the trajectories.
        most: how many are drawn.

    Returns:
        Left, the plane that the first generator rotates; right, the coordinates of the first trajectory against time.
    """
    z = symmetry.encode(data.states[:most].float())
    figure, (plane, course) = panels(2, width=4.2)
    first, second = _plane(symmetry)
    for i, row in enumerate(z):
        plane.plot(row[:, first], row[:, second], color=colour(i), lw=0.8, alpha=0.8)
    plane.set(xlabel=f"z{first + 1}", ylabel=f"z{second + 1}", aspect="equal")
    times = data.time_step * torch.arange(z.shape[1])
    for i in range(z.shape[2]):
        course.plot(times, z[0, :, i], color=colour(i), lw=0.8, label=f"z{i + 1}")
    course.set(xlabel="time", ylabel="latent coordinate")
    legend(course)
    return figure


@torch.no_grad()
def draw_group_action(
    symmetry: LatentSymmetry,
    data: Trajectories,
    energy: Callable[[Tensor], Tensor] | None,
    generator: int = 0,
    seed: int = 0,
) -> "Figure":
    """Snapshots on their orbits under one generator: curves for data of two coordinates, else pictures.

    Args:
        symmetry: of the group.
        data: snapshots are drawn from it.
        energy: conserved quantity of states (..., 2), shown along the orbits.
        generator: its index.
        seed: of the choice of snapshots.

    Returns:
        The figure.
    """
    flat = data.states.float().flatten(0, 1)
    chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    if data.shape == (2,):
        return _draw_orbits(symmetry, flat[chosen[:MAX_POINTS]], energy, data.coordinates)
    x = flat[chosen[:3]]
    amounts = period(symmetry, generator) * torch.arange(5) / 4
    moved = symmetry.flow(x, amounts, generator)
    figure, axes = panels(3 * 6, 6, width=1.5, height=1.5)
    titles = ["x", "psi(phi(x))", "1/4 period", "1/2", "3/4", "1 period"]
    for row in range(3):
        for column, picture in enumerate([x[row], *moved[:, row]]):
            axis = axes[6 * row + column]
            draw_snapshot(axis, picture, reference=x[row])
            axis.set_title(titles[column] if row == 0 else "")
    return figure


def draw_snapshot(axis: "Axes", snapshot: Tensor, reference: Tensor | None = None) -> None:
    """One snapshot.

    Args:
        axis: to draw on.
        snapshot: (n,), drawn as a curve, or (..., n, m), whose first field is drawn as an image.
        reference: fixes the range of the colours or the axis; the snapshot itself by default.
    """
    like = snapshot if reference is None else reference
    low, high = float(like.min()), float(like.max())
    axis.set_xticks([])
    axis.set_yticks([])
    if snapshot.ndim == 1:
        axis.plot(snapshot, color=colour(0), lw=1.2)
        axis.set_ylim(
            low - 0.1 * (high - low), high + 0.5 * (high - low)
        )  # room for two bumps at one position
        return
    picture = snapshot.reshape(-1, *snapshot.shape[-2:])[0]
    axis.imshow(picture.numpy(), cmap="RdBu_r" if low < 0 else "gray", vmin=low, vmax=high)
    axis.spines[:].set_visible(False)


def draw_forecasts(
    times: Tensor, errors: Mapping[str, Tensor], seen: float | None = None, most: int = 600
) -> "Figure":
    """Errors of forecasts against time on a logarithmic axis.

    Args:
        times: (T,).
        errors: |x_hat - x| / |x| (T,) by ``"equation, method"``; those of refined equations are drawn bold.
        seen: fraction of the time that refined equations were fitted to.
        most: about how many points of a curve are drawn.

    Returns:
        The figure.
    """
    figure, (axis,) = panels(1, width=8.5, height=3.6)
    keep = slice(None, None, max(1, len(times) // most))
    names = list(dict.fromkeys(name.split(",")[0] for name in errors))
    styles = {"rk": ("-", 0.9), "euler": ("--", 0.7), "reconstruction": (":", 0.9), "refined": ("-", 1.9),
              "whole": ("-.", 1.9)}  # fmt: skip
    for i, (label, error) in enumerate(errors.items()):
        name, way = label.split(", ")
        style, width = styles.get(way, ("-", 1.0))
        shown = error.clamp(max=MAX_ERROR).where(error.isfinite(), torch.nan)
        shade = colour(names.index(name))
        axis.plot(
            times[keep], shown[keep], style, color=shade, lw=width, label=_way_name(name, way), zorder=2 + i
        )
    axis.axhline(0.01, color=QUIET, lw=0.8, zorder=1)
    if seen is not None:
        axis.axvline(seen * float(times[-1]), color=QUIET, lw=0.8, ls="--", zorder=1)
        axis.text(
            seen * float(times[-1]),
            1.02,
            "fitted | unseen",
            ha="center",
            transform=axis.get_xaxis_transform(),
        )
    axis.set(xlabel="time", ylabel="relative error of the forecast", yscale="log")
    legend(axis)
    return figure


def _way_name(name: str, way: str) -> str:
    return f"{name}, {'Euler' if way == 'euler' else 'order 8' if way == 'rk' else way}"


def _draw_orbits(
    symmetry: LatentSymmetry, x: Tensor, energy: Callable[[Tensor], Tensor] | None, names: Sequence[str]
) -> "Figure":
    """Orbits of the group in the plane of the data, and the energy along them."""
    figure, (plane, course) = panels(2, width=4.2, height=3.6)
    fractions = torch.linspace(0, 1, 121)
    order = x.norm(dim=1).argsort()
    starts = x[order[torch.linspace(0.1 * len(x), len(x) - 1, 6).long()]]
    orbits = symmetry.flow(starts, period(symmetry) * fractions).transpose(0, 1)
    plane.plot(*x.T, ".", color=QUIET, ms=1.5, zorder=0)
    for i, orbit in enumerate(orbits):
        plane.plot(*orbit.T, color=colour(i), lw=1.2)
        plane.plot(*starts[i], "o", color=colour(i), ms=4)
        if energy is not None:
            course.plot(fractions, energy(orbit), color=colour(i), lw=1.2)
            course.axhline(float(energy(starts[i])), color=colour(i), lw=0.6, ls=":")
    plane.set(xlabel=names[0], ylabel=names[1], title="orbits under exp(t L), and data")
    course.set(xlabel="periods", ylabel="energy", title="energy along the orbits; dotted: initial")
    return figure


def _plane(symmetry: LatentSymmetry) -> tuple[int, int]:
    """The two coordinates that the first generator mixes most."""
    size = symmetry.algebra.basis[0].abs()
    size = (size + size.mT).triu(1)
    return divmod(int(size.argmax()), len(size))


CLOUD_POINTS = 800  # data points behind an animated orbit


def shortened(equation: str, most: int = 3) -> str:
    """An equation of several lines with at most ``most`` terms on each."""
    lines = []
    for line in equation.splitlines():
        terms = re.split(r" (?=[+-] )", line)
        more = len(terms) - most
        lines.append(" ".join(terms[:most]) + (f" + {more} more term{'s' * (more > 1)}" if more > 0 else ""))
    return "\n".join(lines)


@torch.no_grad()
def animate_orbit(
    symmetry: LatentSymmetry,
    data: Trajectories,
    *,
    title: str = "",
    start: int = 0,
    frames: int = 24,
    rate: int = 10,
) -> bytes:
    """An animated GIF of one snapshot on its orbit: the data on the left, the latent space on the right.

    Args:
        symmetry: the orbit runs through one period of each generator in order.
        data: the snapshot and the points behind the orbit are taken from it.
        title: above both, such as the equation of motion.
        start: index of the snapshot among all.
        frames: of each period.
        rate: frames per second.

    Returns:
        The content of the file.
    """
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    flat = data.states.float().flatten(0, 1)
    cloud = flat[:: max(1, len(flat) // CLOUD_POINTS)]
    orbit = _orbit(symmetry, flat[start : start + 1], frames)
    latent_cloud, snapshots = symmetry.encode(cloud), symmetry.decode(orbit)
    lines = title.count("\n") + 1 if title else 0
    figure, (left, right) = panels(2, width=3.6, height=3.5 + 0.25 * lines)
    FigureCanvasAgg(figure)
    figure.set_layout_engine(None)  # the axes stay where they are from frame to frame
    top = 1 - (0.35 + 0.25 * lines) / (3.5 + 0.25 * lines)
    figure.subplots_adjust(left=0.1, right=0.98, bottom=0.14, top=top, wspace=0.2)
    figure.suptitle(title, y=0.99, va="top", family="monospace", fontsize=11)
    writer = PillowWriter(fps=rate)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "orbit.gif"
        with writer.saving(figure, str(path), dpi=100):
            for number in range(len(orbit)):
                left.clear()
                right.clear()
                _draw_data(left, snapshots, number, cloud, data)
                _draw_latent(right, orbit, number, latent_cloud)
                writer.grab_frame()
        return path.read_bytes()


def _orbit(symmetry: LatentSymmetry, x: Tensor, frames: int) -> Tensor:
    """z (n, k) of one snapshot (1, *shape) through one period of each generator, one after the other."""
    algebra, z = symmetry.algebra, symmetry.encode(x)
    w = torch.zeros(algebra.n_generators, frames, algebra.n_generators)
    for i in range(algebra.n_generators):
        w[i, :, i] = period(symmetry, i) * torch.arange(frames) / frames
    return torch.einsum("tij,nj->ti", algebra.element(w.flatten(0, 1).to(algebra.basis)).to(z), z)


def _draw_data(axis: "Axes", snapshots: Tensor, now: int, cloud: Tensor, data: Trajectories) -> None:
    if data.shape == (2,):
        axis.plot(*cloud.T, ".", color=QUIET, ms=1)
        axis.plot(*snapshots.T, color=colour(1), lw=1.2)
        axis.plot(*snapshots[now], "o", color=colour(1), ms=7)
        axis.set(xlabel=data.coordinates[0], ylabel=data.coordinates[1])
    else:
        draw_snapshot(axis, snapshots[now], reference=cloud[:50].flatten())
    axis.set_title("data: decoder(exp(t L) z)", fontsize=10)


def _draw_latent(axis: "Axes", orbit: Tensor, now: int, cloud: Tensor) -> None:
    """The planes (z1, z2), (z3, z4), ... in one, in different colours; of three coordinates the first two."""
    for i in range(0, max(2, orbit.shape[1] - 1), 2):
        shade = colour(1 + i // 2)
        if i == 0:
            axis.plot(cloud[:, 0], cloud[:, 1], ".", color=QUIET, ms=1)
        axis.plot(orbit[:, i], orbit[:, i + 1], color=shade, lw=1.2)
        axis.plot(orbit[now, i], orbit[now, i + 1], "o", color=shade, ms=7)
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.set_title("latent space: exp(t L) z", fontsize=10)
