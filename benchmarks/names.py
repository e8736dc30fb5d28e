"""How often an algebra is named right from its generators alone, in random coordinates and random bases, with noise.

    python benchmarks/names.py --out results/names.json --held-out

A presentation of an algebra: coordinates x -> g x with a condition number uniform in [1, 10]; generators mixed by
a random matrix of condition number at most 10; then noise, independent for each entry, of the given size
relative to the generator. ``TUNING`` served to choose the settings; ``HELD_OUT`` was run once, at the end.
Three answers are counted: right, not in the catalogue (no claim), and wrong.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cyclopts
import torch
from common import write_result
from torch import Tensor

from discover import identify
from discover.algebra.textbook import textbook
from equivariant import LieAlgebra, catalogue
from equivariant.compare import structure_constants

# the catalogue has no algebra for these, so no name is right
UNNAMED = "not in the catalogue"

TUNING = (
    "so(2)", "so(1,1)", "scaling(3)", "so(3)", "so(1,2)", "so(1,3)", "so(5)", "sl(3)", "sl(2)", "gl(3)", "sp(4)",
    "su(2)", "su(1,2)", "u(2)", "sl(2,C)", "se(2)", "iso(1,2)", "heisenberg(3)", "translation(2)", "2*so(3)",
    "4*so(2)", "so(2)+so(2)", "so(3)+so(2)", "so(3) with scaling(3)", "spin two", "upper triangular(2)",
)  # fmt: skip
HELD_OUT = (
    "2*so(2)", "3*so(2)", "scaling(4)", "so(4)", "so(2,2)", "so(2,3)", "so(1,4)", "sl(4)", "gl(2)", "sp(2)",
    "sp(6)", "su(3)", "su(1,1) with phase", "u(3)", "gl(2,C)", "se(3)", "iso(1,1)", "heisenberg(5)", "translation(3)",
    "2*so(1,3)", "2*so(1,2)", "so(1,1)+so(2)", "so(3)+so(3)", "so(1,3) with scaling(4)", "aff(2)",
    "adjoint of sl(3)", "upper triangular(3)", "so(3)+so(1,2)", "so(2,2) with scaling(4)", "so(2)+scaling(1)",
)  # fmt: skip


def generators(name: str) -> tuple[Tensor, str]:
    """The generators of a problem in textbook form, and the name that is right."""
    if name == "spin two":
        return on_quadratics(catalogue.rotation(3).basis), "so(3)"
    if name == "adjoint of sl(3)":
        return structure_constants(catalogue.special_linear(3)).transpose(1, 2), "sl(3)"
    if name.startswith("upper triangular"):
        n = int(name[-2])
        pairs = [(i, j) for i in range(n) for j in range(i, n)]
        basis = torch.zeros(len(pairs), n, n, dtype=torch.float64)
        for a, (i, j) in enumerate(pairs):
            basis[a, i, j] = 1.0
        return basis, UNNAMED
    if name == "su(1,1) with phase":
        return textbook("u(1,1)").basis, "u(1,1)"
    return textbook(name).basis, {"sp(2)": "sl(2)"}.get(name, name)


def on_quadratics(basis: Tensor) -> Tensor:
    """Rotations acting on symmetric 3 x 3 matrices without trace, S -> L S - S L, in an orthonormal basis."""
    i, j = torch.triu_indices(3, 3)
    frame = torch.zeros(6, 3, 3, dtype=torch.float64)
    n = torch.arange(6)
    frame[n, i, j], frame[n, j, i] = 1.0, 1.0
    frame = (
        frame - torch.eye(3, dtype=torch.float64) * frame.diagonal(dim1=1, dim2=2).sum(1)[:, None, None] / 3
    )
    frame = torch.linalg.svd(frame.flatten(1), full_matrices=False).Vh[:5].reshape(5, 3, 3)
    moved = basis[:, None] @ frame - frame @ basis[:, None]
    return torch.einsum("eij,afij->aef", frame, moved)


def presentation(basis: Tensor, noise: float, rng: torch.Generator) -> Tensor:
    """The same algebra in random coordinates and a random basis, with noise."""
    c, k = basis.shape[:2]
    frame = _random_matrix(k, 1 + 9 * float(torch.rand((), generator=rng)), rng)
    mixing = _random_matrix(c, 1 + 9 * float(torch.rand((), generator=rng)), rng)
    moved = torch.einsum("ab,bij->aij", mixing, frame @ basis @ torch.linalg.inv(frame))
    errors = torch.randn(moved.shape, generator=rng, dtype=torch.float64) / k
    return moved + noise * errors * moved.flatten(1).norm(dim=1)[:, None, None]


def _random_matrix(n: int, condition: float, rng: torch.Generator) -> Tensor:
    """U diag(s) V with random rotations U, V and singular values from 1 to the condition number."""
    left, right = (torch.linalg.qr(torch.randn(n, n, generator=rng, dtype=torch.float64)).Q for _ in range(2))
    sizes = condition ** torch.rand(n, generator=rng, dtype=torch.float64)
    if n > 1:
        sizes[0], sizes[1] = 1.0, condition
    return left @ torch.diag(sizes) @ right


def count(problems: Sequence[str], noise: float, repeats: int, first_seed: int) -> dict[str, Any]:
    """Right, unnamed and wrong answers, and what was answered where it was not right."""
    counts = {"right": 0, "not named": 0, "wrong": 0}
    failures: list[dict[str, Any]] = []
    begun = time.process_time()
    for number, name in enumerate(problems):
        basis, right = generators(name)
        for repeat in range(repeats):
            rng = torch.Generator().manual_seed(first_seed + 1000 * number + repeat)
            answer = identify(LieAlgebra(presentation(basis, noise, rng))).name
            named = not answer.endswith(UNNAMED)
            same = sorted(answer.split("+")) == sorted(right.split("+"))
            kind = "right" if (same if named else right == UNNAMED) else "wrong" if named else "not named"
            counts[kind] += 1
            if kind != "right":
                failures.append(
                    {"algebra": name, "seed": first_seed + 1000 * number + repeat, "answer": answer}
                )
    return {"noise": noise, **counts, "seconds": time.process_time() - begun, "failures": failures}


def main(out: Path | None = None, *, repeats: int = 10, first_seed: int = 0, held_out: bool = False) -> None:
    """Run the study.

    Args:
        out: result file (JSON); nothing is written without it.
        repeats: presentations of each algebra.
        first_seed: seeds count up from here.
        held_out: also the algebras, and the seeds, that were kept aside while the settings were chosen.
    """
    torch.set_num_threads(1)
    content: dict[str, Any] = {"repeats": repeats, "first_seed": first_seed}
    studies = {"tuning": (TUNING, first_seed)} | (
        {"held_out": (HELD_OUT, first_seed + 10**6)} if held_out else {}
    )
    for label, (problems, seed) in studies.items():
        content[label] = [count(problems, noise, repeats, seed) for noise in (0.0, 0.01, 0.03)]
        for row in content[label]:
            print(label, {key: value for key, value in row.items() if key != "failures"})
            for failure in row["failures"]:
                print("   ", *failure.values())
    if out is not None:
        write_result(out, content, *(["--held-out"] if held_out else []))


if __name__ == "__main__":
    cyclopts.run(main)
