"""README keeps its word: the example prints what stands below it, links lead somewhere, figures are on file."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "README.md").read_text()
sys.path.insert(0, str(ROOT / "docs"))


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, flags=re.DOTALL)


def test_it_is_short():
    assert len(TEXT.splitlines()) <= 150


def test_the_example_prints_what_is_printed(tmp_path):
    (example,), (output,) = blocks("python"), blocks("text")
    assert len([line for line in example.splitlines() if line]) <= 11
    single = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", example], cwd=tmp_path, capture_output=True, text=True, check=False,
        env={**os.environ, **single},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == output


def test_the_two_commands_are_one_line_each():
    install, test = blocks("bash")
    assert install.strip().count("\n") == test.strip().count("\n") == 0
    assert install.strip().endswith("liesmith two-body")
    assert test.strip().endswith("pytest")


def test_ci_runs_the_test_command_of_readme():
    command = blocks("bash")[1].strip().split("/")[-1]  # python -m pytest
    assert command in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_links_lead_to_files(page):
    for target in re.findall(r"\]\(([^)#]+)\)", (ROOT / page).read_text()):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_figures_are_those_on_file():
    import tables

    assert f"{tables.BEGIN}\n{tables.readme()}{tables.END}" in TEXT


@pytest.mark.parametrize(
    "name", ["two_body_discovery", "taggers", "latent_symmetries", "jet_symmetries", "models"]
)
def test_tables_of_the_pages_are_made_from_result_files(name):
    import tables

    text = tables.PAGES[name]()
    assert text.count("\n|") > 2
    assert "nan" not in text
    assert "None" not in text
