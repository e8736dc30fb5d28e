"""A moving picture of an orbit x -> psi(exp(t L) phi(x)) beside its way through the latent space, as a small GIF."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from discover.draw import COLOURS, QUIET
from tasks.latent.data import Trajectories
from tasks.latent.measures import LatentMap
from tasks.latent.pictures import draw_snapshot, elements, full_turn, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["animate_orbit"]

MOST = 800  # points of the cloud


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
    cloud = flat[:: max(1, len(flat) // MOST)]
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
