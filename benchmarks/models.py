"""Equivariant models beside plain peers: python benchmarks/models.py --out results/benchmarks/models.json.

Solver: seconds, dimension and residual of each null space. EMLP: training step and evaluation against a plain
network of the same widths, output size at the start, memory. LieGNN: training step and peak memory against the
block as the papers describe it (``plain_block``). Exponentials, and elements of algebras by their closed forms:
forward and backward against PyTorch's. The published EMLP package, where it is installed: the same model, side by side.
Seconds are processor seconds of one thread, the least of several; each network is measured in a fresh process.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import cyclopts
import torch
from common import least_seconds, timed, write_result
from plain_block import PlainLieGNN, complete_edges
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from equivariant import EMLP, LieAlgebra, LieGNN, Rep, Scalar, T, V, catalogue, equivariant_maps
from equivariant.expm import closed_form, elements, exponential
from equivariant.interop import to_emlp

SEED, WIDTH = 0, 384
SPACES = [
    ("so(2)", 4),
    ("so(3)", 4),
    ("so(3)", 7),
    ("so(1,3)", 4),
    ("so(1,3)", 5),
    ("so(1,3)", 6),
    ("4*so(2)", 2),
]
NETWORKS = [
    ("so(2)", 256),
    ("so(3)", 256),
    ("so(1,3)", 256),
    ("4*so(2)", 256),
    ("so(3)", 1024),
    ("so(3)", 4096),
    ("so(2)", 4096),
]
CLOUDS = [(16, 25, 72), (16, 50, 72), (16, 100, 72), (16, 50, 36), (16, 50, 144), (4, 50, 72), (64, 50, 72)]


def megabytes() -> float:
    """Peak memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def solver(name: str, order: int, noise: float) -> dict[str, Any]:
    """The invariants of T(order)."""
    algebra = catalogue.by_name(name)
    generator = torch.Generator().manual_seed(SEED)
    errors = torch.randn(algebra.basis.shape, generator=generator, dtype=torch.float64)
    noisy = LieAlgebra(algebra.basis + noise * errors, provenance={"method": "noise"})
    found = equivariant_maps(Scalar, T(order), noisy)
    seconds = least_seconds(lambda: equivariant_maps(Scalar, T(order), noisy), repeats=2)
    evidence = {"dim": found.dim, "residual": found.residual, "gap": found.gap}
    return {"algebra": name, "order": order, "noise": noise, "seconds": seconds, **evidence}


def plain_network(size: int, width: int) -> nn.Module:
    """Three hidden layers with silu."""
    layers: list[nn.Module] = []
    for a, b in pairwise([size, width, width, width]):
        layers += [nn.Linear(a, b), nn.SiLU()]
    return nn.Sequential(*layers, nn.Linear(width, size))


def network(name: str, batch: int) -> dict[str, Any]:
    """EMLP 5 V -> 5 V of the default width, and its plain peer."""
    torch.manual_seed(SEED)
    algebra, rep = catalogue.by_name(name), Rep.parse("5*V")
    size = rep.size(algebra.dim)
    before = megabytes()
    net, build = timed(lambda: EMLP(rep, rep, algebra, hidden=WIDTH))
    peer = plain_network(size, WIDTH)
    x = torch.randn(batch, size)
    row: dict[str, Any] = {"algebra": name, "batch": batch, "build_seconds": build}
    row |= {"start": float(net(x).std()), "plain_start": float(peer(x).std())}
    row["plain_step"] = least_seconds(_step(peer, lambda: peer(x).square().mean()))
    row["step"] = least_seconds(_step(net, lambda: net(x).square().mean()))
    row["megabytes"] = megabytes() - before
    dense = net.dense()
    with torch.no_grad():
        row["plain_evaluation"] = least_seconds(lambda: peer(x))
        row["evaluation"] = least_seconds(lambda: net.eval()(x))
        row["dense_evaluation"] = least_seconds(lambda: dense(x))
    return row | _ratios(row)


def _ratios(row: dict[str, Any]) -> dict[str, float]:
    return {
        "step_ratio": row["step"] / row["plain_step"],
        "evaluation_ratio": row["dense_evaluation"] / row["plain_evaluation"],
        "start_ratio": row["start"] / row["plain_start"],
    }


def published(name: str, batch: int = 256, width: int = 96) -> dict[str, Any]:
    """The same model in the published package (extra ``emlp``) and here, 5 V -> 5 V with three layers."""
    from emlp.nn.pytorch import EMLP as Published
    from emlp.reps import V as PublishedV  # type: ignore[attr-defined]

    torch.manual_seed(SEED)
    algebra, rep = catalogue.by_name(name), 5 * V
    x = torch.randn(batch, rep.size(algebra.dim))
    group = to_emlp(algebra)
    row: dict[str, Any] = {"algebra": name, "batch": batch, "width": width}
    theirs = Published(5 * PublishedV(group), 5 * PublishedV(group), group, ch=width, num_layers=3)
    ours = EMLP(rep, rep, algebra, hidden=width)
    for key, net in (("published_step", theirs), ("step", ours)):
        row[key] = least_seconds(_step(net, lambda net=net: net(x).square().mean()), repeats=3)
    return row | {"ratio": row["published_step"] / row["step"]}


def cloud(kind: str, batch: int, nodes: int, hidden: int) -> dict[str, Any]:
    """Training step of six layers on fully connected clouds; memory beyond what a tiny step needs."""
    torch.manual_seed(SEED)
    metric = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0]))
    net = (PlainLieGNN if kind == "plain" else LieGNN)(metric, 2, 2, hidden=hidden, layers=6)
    s, x, y = torch.randn(batch, nodes, 2), torch.randn(batch, nodes, 4), torch.randint(2, (batch,))

    def loss(b: int, n: int) -> Tensor:
        extra = (complete_edges(b, n),) if kind == "plain" else ()
        return cross_entropy(net(s[:b, :n], x[:b, :n], *extra), y[:b])

    _step(net, lambda: loss(2, 4))()
    before = megabytes()
    seconds = least_seconds(_step(net, lambda: loss(batch, nodes)), repeats=3)
    sizes = {"batch": batch, "nodes": nodes, "hidden": hidden}
    return {"kind": kind, **sizes, "seconds": seconds, "megabytes": megabytes() - before}


def _step(net: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.Adam(net.parameters(), 1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def exponentials(k: int, dtype: str) -> dict[str, Any]:
    """4096 elements, forward and backward."""
    torch.manual_seed(SEED)
    a = (torch.randn(4096, k, k, dtype=getattr(torch, dtype)) / k**0.5).requires_grad_()
    seconds = [
        least_seconds(lambda f=f: f(a).square().sum().backward()) for f in (exponential, torch.matrix_exp)
    ]
    return {
        "k": k,
        "dtype": dtype,
        "seconds": seconds[0],
        "torch_seconds": seconds[1],
        "ratio": seconds[1] / seconds[0],
    }


def closed_forms(name: str, dtype: str) -> dict[str, Any]:
    """4096 random elements of an algebra, forward and backward."""
    torch.manual_seed(SEED)
    basis = catalogue.by_name(name).basis.to(getattr(torch, dtype))
    form, w = closed_form(basis), torch.randn(4096, len(basis), dtype=basis.dtype).requires_grad_()
    ways = {
        "seconds": lambda: elements(w, basis, form),
        "torch_seconds": lambda: torch.matrix_exp(torch.einsum("nc,cij->nij", w, basis)),
    }
    row: dict[str, Any] = {"algebra": name, "k": basis.shape[-1], "dtype": dtype, "closed": form is not None}
    for key, way in ways.items():
        row[key] = least_seconds(lambda way=way: way().square().sum().backward())
    return row | {"ratio": row["torch_seconds"] / row["seconds"]}


def fresh(part: str, *arguments: object) -> dict[str, Any]:
    """One measurement in a new process."""
    command = [sys.executable, __file__, "--part", part, "--arguments", json.dumps(arguments)]
    return json.loads(
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[-1]
    )


PARTS = {f.__name__: f for f in (solver, network, published, cloud, exponentials, closed_forms)}


def main(
    out: Path = Path("results/benchmarks/models.json"), *, part: str | None = None, arguments: str = "[]"
) -> None:
    """Measure everything and write it.

    Args:
        out: result file (JSON).
        part: measure one part only, in this process, and print it: solver, network, published, cloud,
            exponentials or closed_forms.
        arguments: of the part, a JSON list.
    """
    torch.set_num_threads(1)
    if part is not None:
        print(json.dumps(PARTS[part](*json.loads(arguments))))
        return
    result: dict[str, Any] = {"seed": SEED, "threads": 1, "gpu": "not measured: no GPU was at hand"}
    result["solver"] = [fresh("solver", *space, noise) for space in SPACES for noise in (0.0, 1e-2)]
    result["emlp"] = [fresh("network", *network) for network in NETWORKS]
    if find_spec("emlp"):
        result["published_emlp"] = [fresh("published", name) for name in ("so(2)", "so(3)", "so(1,3)")]
    result["liegnn"] = [fresh("cloud", kind, *sizes) for sizes in CLOUDS for kind in ("plain", "ours")]
    result["exponential"] = [
        fresh("exponentials", k, dtype) for k in (4, 8) for dtype in ("float32", "float64")
    ]
    result["elements"] = [
        fresh("closed_forms", name, dtype)
        for name in ("so(2)", "so(3)", "so(1,3)", "4*so(2)", "so(4)")
        for dtype in ("float32", "float64")
    ]
    write_result(out, result)


if __name__ == "__main__":
    cyclopts.run(main)
