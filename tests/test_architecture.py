"""The house's rules that can be read off the source: who imports whom, and what stays out of the packages."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAY_IMPORT = {
    "equivariant": {"equivariant"},
    "discover": {"equivariant", "discover"},
    "tasks": {"equivariant", "discover", "tasks"},
}
OURS = {*MAY_IMPORT, "tests", "benchmarks", "conftest"}
HEAVY = {"matplotlib", "jax", "jaxlib", "objax", "emlp", "h5py", "pythia8", "sklearn", "pysindy", "lightning_fabric",
         "tensorboard"}  # fmt: skip
FILES = {
    str(path.relative_to(ROOT)): path for package in MAY_IMPORT for path in (ROOT / package).rglob("*.py")
}


def imported(tree):
    """Top names of every module a file imports, wherever in the file."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield "" if node.level else str(node.module).split(".")[0]


@pytest.fixture(params=FILES.values(), ids=FILES.keys())
def file(request):
    return request.param


def test_there_is_something_to_look_at():
    assert {path.split("/")[0] for path in FILES} == set(MAY_IMPORT)


def test_imports_follow_the_arrows(file):
    package = file.relative_to(ROOT).parts[0]
    ours = {name for name in imported(ast.parse(file.read_text())) if name in OURS}
    assert ours <= MAY_IMPORT[package]


def test_imports_are_absolute_and_named(file):
    tree = ast.parse(file.read_text())
    assert "" not in set(imported(tree))
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.ImportFrom) and n.names[0].name == "*"]


def test_no_assert_outside_tests(file):
    assert not [node.lineno for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Assert)]


def test_a_file_says_what_it_is_and_what_it_offers(file):
    tree = ast.parse(file.read_text())
    assert ast.get_docstring(tree)
    targets = [node.targets[0] if isinstance(node, ast.Assign) else node.target
               for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)]  # fmt: skip
    names = {target.id for target in targets if isinstance(target, ast.Name)}
    assert "__all__" in names


@pytest.mark.parametrize("module", ["equivariant", "discover", "discover.algebra.draw", "tasks.cli"])
def test_an_import_stays_light(module):
    code = f"import sys, {module}; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    assert not HEAVY & {name.split(".")[0] for name in loaded.split()}


def test_planted_faults_are_seen():
    assert "discover" in set(
        imported(ast.parse("def f():\n    from discover.adversarial.liegan import LieGAN"))
    )
    assert "" in set(imported(ast.parse("from . import x")))
    assert "jax" in set(imported(ast.parse("import jax.numpy as np")))
