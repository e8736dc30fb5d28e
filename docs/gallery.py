"""What the gallery of tutorials adds to sphinx-gallery: an order, and figures that are values rather than pyplot's."""

from typing import Any

from matplotlib.figure import Figure
from sphinx_gallery.scrapers import figure_rst

__all__ = ["InOrder", "scrape_figures"]

ORDER = (
    "two_body", "own_table", "jets", "latent_space", "liegnn_in_pyg", "layer_of_your_own", "augmentation",
    "emlp_by_hand",
)  # fmt: skip


class InOrder:
    """Sorts tutorials from the first steps on; what has no place of its own comes last."""

    def __init__(self, folder: str):
        self.folder = folder

    def __call__(self, name: str) -> int:
        stem = name.removesuffix(".py")
        return ORDER.index(stem) if stem in ORDER else len(ORDER)

    def __repr__(self) -> str:
        return "InOrder"


def scrape_figures(block: Any, variables: dict[str, Any], configuration: dict[str, Any]) -> str:
    """Save the figures that a block has assigned to names (``draw_basis`` returns one) and show them."""
    values = variables["example_globals"]
    seen = values.setdefault("__figures_shown__", set())
    paths = []
    for value in list(values.values()):
        if isinstance(value, Figure) and value.canvas.manager is None and id(value) not in seen:
            seen.add(id(value))
            path = next(variables["image_path_iterator"])
            value.savefig(path, dpi=110)
            paths.append(path)
    return figure_rst(paths, configuration["src_dir"])
