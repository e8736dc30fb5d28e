"""How the pages are built: ``python -m sphinx -W -b html docs docs/_build/html``."""

import re
import sys
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE), str(HERE.parent)]

import gallery  # noqa: E402  (beside this file)
import tables  # noqa: E402

tables.write(HERE / "_generated")

project = "liesmith"
author = "The liesmith authors"
release = version = installed("liesmith")
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx.ext.viewcode",
    "sphinx_copybutton",
    "sphinx_design",
    "sphinx_gallery.gen_gallery",
]
exclude_patterns = ["_build", "_generated", "tutorials", "**/README.rst"]
html_theme = "furo"
html_title = f"liesmith {release}"
html_static_path = ["_static"]
html_css_files = ["wide.css"]

myst_enable_extensions = ["dollarmath", "colon_fence", "deflist", "substitution", "amsmath"]
myst_heading_anchors = 3
myst_substitutions = tables.figures()

autosummary_generate = True
autosummary_ignore_module_all = False
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_numpy_docstring = False
napoleon_preprocess_types = False
suppress_warnings = ["config.cache"]  # the scraper of figures is a function, which Sphinx does not cache

sphinx_gallery_conf = {
    "examples_dirs": "tutorials",
    "gallery_dirs": "gallery",
    "filename_pattern": r"/\w+\.py$",
    "within_subsection_order": gallery.InOrder,
    "image_scrapers": ("matplotlib", gallery.scrape_figures),
    "download_all_examples": False,
    "show_memory": False,
    "capture_repr": ("_repr_html_",),
    "remove_config_comments": True,
    "abort_on_example_error": True,
}
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True

PLAIN = re.compile(r"(``.*?``|:\w+:`.*?`)")


def escape_formulas(app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    """Bars and single stars of a formula in a docstring stand for themselves, as a reader of the source sees them."""
    for i, line in enumerate(lines):
        if not line.lstrip().startswith((">>>", "...")):
            parts = PLAIN.split(line)
            parts[::2] = [re.sub(r"(?<![*\\])(\||\*(?=[^*\s]))(?!\*)", r"\\\1", part) for part in parts[::2]]
            lines[i] = "".join(parts)


def setup(app: Any) -> None:
    """Connect the hook before napoleon reads the docstring."""
    app.connect("autodoc-process-docstring", escape_formulas, priority=400)
