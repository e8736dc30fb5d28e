"""Pictures of a latent symmetry: the latent space, data before and after g, trajectories, errors of a forecast."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from discover.algebra.draw import COLOURS, QUIET, STYLE
from tasks.latent.data import Trajectories
from tasks.latent.metrics import LatentMap, turning_rate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "animate_orbit",
    "draw_forecasts",
    "draw_group_action",
    "draw_latent_motion",
    "draw_snapshot",
    "full_turn",
    "panels",
]

MOST = 1500  # points of a scatter
ABYSS = 10.0  # errors above it are drawn there


def panels(n: int, width: float = 3.0, height: float = 3.0, rows: int = 1) -> tuple["Figure", list["Axes"]]:
    """A figure that no global state knows of, with n axes."""
    import matplotlib
    from matplotlib.figure import Figure

    columns = math.ceil(n / rows)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(width * columns, height * rows), layout="constrained")
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def full_turn(symmetry: LatentMap, generator: int = 0) -> float:
    """The coefficient [rad / turning rate] after which exp(w L) is back; 1 where L does not turn."""
    rate = turning_rate(symmetry.algebra, generator)
    return 2 * math.pi / rate if rate > 1e-6 else 1.0


def elements(symmetry: LatentMap, amounts: Tensor, generator: int = 0) -> Tensor:
    """exp(w L) for amounts w (n,) of one generator: (n, k, k), float32."""
    w = torch.zeros(len(amounts), symmetry.algebra.n_generators, dtype=symmetry.algebra.basis.dtype)
    w[:, generator] = amounts.to(w)
    return symmetry.algebra.element(w).float()


@torch.no_grad()
def draw_latent_motion(symmetry: LatentMap, data: Trajectories, most: int = 8) -> "Figure":
    """Left: a few trajectories in the plane that L turns. Right: the first one's coordinates against time."""
    z = symmetry.encode(data.states[:most].float())
    figure, (plane, course) = panels(2, width=4.2)
    first, second = _plane(symmetry)
    for i, row in enumerate(z):
        plane.plot(row[:, first], row[:, second], color=COLOURS[i % len(COLOURS)], lw=0.8, alpha=0.8)
    plane.set(xlabel=f"z{first + 1}", ylabel=f"z{second + 1}", aspect="equal")
    times = data.time_step * torch.arange(z.shape[1])
    for i in range(z.shape[2]):
        course.plot(times, z[0, :, i], color=COLOURS[i % len(COLOURS)], lw=0.8, label=f"z{i + 1}")
    course.set(xlabel="time", ylabel="latent coordinate")
    course.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


@torch.no_grad()
def draw_group_action(
    symmetry: LatentMap,
    data: Trajectories,
    energy: Callable[[Tensor], Tensor] | None,
    generator: int = 0,
    seed: int = 0,
) -> "Figure":
    """Snapshots moved through one turn of one generator: orbits in the plane of two coordinates, else pictures."""
    flat = data.states.float().flatten(0, 1)
    chosen = torch.randperm(len(flat), generator=torch.Generator().manual_seed(seed))
    if data.shape == (2,):
        return _draw_orbits(symmetry, flat[chosen[:MOST]], energy, data.coordinates)
    x = flat[chosen[:3]]
    turn = full_turn(symmetry, generator)
    amounts = turn * torch.arange(5) / 4
    moved = symmetry.decode(
        torch.einsum("tij,nj->tni", elements(symmetry, amounts, generator), symmetry.encode(x))
    )
    figure, axes = panels(3 * 6, width=1.5, height=1.5, rows=3)
    titles = ["x", "psi(phi(x))", "1/4 turn", "1/2 turn", "3/4 turn", "whole turn"]
    for row in range(3):
        for column, picture in enumerate([x[row], *moved[:, row]]):
            axis = axes[6 * row + column]
            draw_snapshot(axis, picture, reference=x[row])
            axis.set_title(titles[column] if row == 0 else "")
    return figure


def draw_snapshot(axis: "Axes", snapshot: Tensor, reference: Tensor | None = None) -> None:
    """One snapshot: a line for (n,), a picture for (..., n, m) (its first field); colours as of the reference."""
    like = snapshot if reference is None else reference
    low, high = float(like.min()), float(like.max())
    axis.set_xticks([])
    axis.set_yticks([])
    if snapshot.ndim == 1:
        axis.plot(snapshot, color=COLOURS[0], lw=1.2)
        axis.set_ylim(low - 0.1 * (high - low), high + 0.5 * (high - low))  # bumps may meet
        return
    picture = snapshot.reshape(-1, *snapshot.shape[-2:])[0]
    axis.imshow(picture.numpy(), cmap="RdBu_r" if low < 0 else "gray", vmin=low, vmax=high)
    axis.spines[:].set_visible(False)


def draw_forecasts(
    times: Tensor, errors: Mapping[str, Tensor], seen: float | None = None, most: int = 600
) -> "Figure":
    """|x_hat - x| / |x| against time on a log axis, curves named "equation, way"; what is fitted to z(t) is bold.

    ``seen``: the part of the time that refined equations have been fitted to.
    """
    figure, (axis,) = panels(1, width=8.0, height=3.6)
    keep = slice(None, None, max(1, len(times) // most))
    names = list(dict.fromkeys(name.split(",")[0] for name in errors))
    styles = {"rk": ("-", 0.9), "euler": ("--", 0.7), "reconstruction": (":", 0.9), "refined": ("-", 1.9),
              "whole": ("-.", 1.9)}  # fmt: skip
    for i, (label, error) in enumerate(errors.items()):
        name, way = label.split(", ")
        style, width = styles.get(way, ("-", 1.0))
        shown = error.clamp(max=ABYSS).where(error.isfinite(), torch.nan)
        colour = COLOURS[names.index(name) % len(COLOURS)]
        axis.plot(
            times[keep], shown[keep], style, color=colour, lw=width, label=_way_name(name, way), zorder=2 + i
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
    axis.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def _way_name(name: str, way: str) -> str:
    return f"{name}, {'Euler' if way == 'euler' else 'order 8' if way == 'rk' else way}"


def _draw_orbits(
    symmetry: LatentMap, x: Tensor, energy: Callable[[Tensor], Tensor] | None, names: Sequence[str]
) -> "Figure":
    """Orbits of the group in the data's own plane over contours of the energy, and energy along them."""
    figure, (plane, course) = panels(2, width=4.2, height=3.6)
    turns = torch.linspace(0, 1, 121)
    order = x.norm(dim=1).argsort()
    starts = x[order[torch.linspace(0.1 * len(x), len(x) - 1, 6).long()]]
    group = elements(symmetry, full_turn(symmetry) * turns)
    orbits = symmetry.decode(torch.einsum("tij,nj->nti", group, symmetry.encode(starts)))
    plane.plot(*x.T, ".", color=QUIET, ms=1.5, zorder=0)
    for i, orbit in enumerate(orbits):
        plane.plot(*orbit.T, color=COLOURS[i % len(COLOURS)], lw=1.2)
        plane.plot(*starts[i], "o", color=COLOURS[i % len(COLOURS)], ms=4)
        if energy is not None:
            course.plot(turns, energy(orbit), color=COLOURS[i % len(COLOURS)], lw=1.2)
            course.axhline(float(energy(starts[i])), color=COLOURS[i % len(COLOURS)], lw=0.6, ls=":")
    plane.set(xlabel=names[0], ylabel=names[1], title="orbits exp(t L) over the data")
    course.set(xlabel="turns", ylabel="energy", title="energy along them; dotted: at the start")
    return figure


def _plane(symmetry: LatentMap) -> tuple[int, int]:
    """The two coordinates that the first generator mixes most."""
    size = symmetry.algebra.basis[0].abs()
    size = (size + size.mT).triu(1)
    return divmod(int(size.argmax()), len(size))


CLOUD_POINTS = 800  # points of the cloud


@torch.no_grad()
def animate_orbit(
    path: str | Path,
    symmetry: LatentMap,
    data: Trajectories,
    *,
    start: int = 0,
    frames: int = 24,
    rate: int = 10,
    generators: tuple[int, ...] | None = None,
) -> None:
    """Write the GIF: data left, latent space right, one turn under each generator in order.

    Args:
        path: of the file. data: where the snapshot ``start`` (of all, flat) and the cloud come from.
        frames: of each turn. rate: frames a second. generators: all of them when left out.
    """
    from matplotlib.animation import PillowWriter
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    flat = data.states.float().flatten(0, 1)
    cloud = flat[:: max(1, len(flat) // CLOUD_POINTS)]
    way = _way(symmetry, flat[start : start + 1], frames, generators)
    latent_cloud, snapshots = symmetry.encode(cloud), symmetry.decode(way)
    figure, (left, right) = panels(2, width=2.6, height=2.6)
    FigureCanvasAgg(figure)
    figure.set_layout_engine(None)  # the axes stay where they are from picture to picture
    figure.subplots_adjust(left=0.14, right=0.98, bottom=0.18, top=0.88, wspace=0.2)
    writer = PillowWriter(fps=rate)
    with writer.saving(figure, str(path), dpi=72):
        for number in range(len(way)):
            left.clear()
            right.clear()
            _draw_data(left, snapshots[: number + 1], cloud, data)
            _draw_latent(right, way[: number + 1], latent_cloud)
            writer.grab_frame()


def _way(symmetry: LatentMap, x: Tensor, frames: int, generators: tuple[int, ...] | None) -> Tensor:
    """z (n, k) of one snapshot (1, *shape) on its turn under each generator, one after the other."""
    z = symmetry.encode(x)
    chosen = range(symmetry.algebra.n_generators) if generators is None else generators
    parts = [
        torch.einsum(
            "tij,nj->ti", elements(symmetry, full_turn(symmetry, i) * torch.arange(frames) / frames, i), z
        )
        for i in chosen
    ]
    return torch.cat(parts)


def _draw_data(axis: "Axes", snapshots: Tensor, cloud: Tensor, data: Trajectories) -> None:
    if data.shape == (2,):
        axis.plot(*cloud.T, ".", color=QUIET, ms=1)
        axis.plot(*snapshots.T, color=COLOURS[1], lw=1.2)
        axis.plot(*snapshots[-1], "o", color=COLOURS[1], ms=5)
        axis.set(xlabel=data.coordinates[0], ylabel=data.coordinates[1])
    else:
        draw_snapshot(axis, snapshots[-1], reference=cloud[:50].flatten())
    axis.set_title("psi(exp(t L) phi(x))", fontsize=9)


def _draw_latent(axis: "Axes", way: Tensor, cloud: Tensor) -> None:
    """All planes (z1, z2), (z3, z4), ... that there are, in one: a colour each; of three coordinates the first two."""
    for i in range(0, max(2, way.shape[1] - 1), 2):
        colour = COLOURS[(1 + i // 2) % len(COLOURS)]
        if i == 0:
            axis.plot(cloud[:, 0], cloud[:, 1], ".", color=QUIET, ms=1)
        axis.plot(way[:, i], way[:, i + 1], color=colour, lw=1)
        axis.plot(way[-1, i], way[-1, i + 1], "o", color=colour, ms=5)
    axis.set(xticks=[], yticks=[], aspect="equal")
    axis.set_title("latent space", fontsize=9)
