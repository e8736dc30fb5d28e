"""Training, validation and test jets: three sets without a jet in common, taken in the order of the sample."""

from dataclasses import dataclass
from pathlib import Path

import torch

from tasks.top_tagging.data.jets import Jets
from tasks.top_tagging.data.reference import ReferenceSet
from tasks.top_tagging.data.shards import load_jets

__all__ = ["Split", "read_split"]

NAMES = ("train", "validation", "test")
REFERENCE = ("train", "val", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Three sets of jets; a smaller training set is the first jets of a larger one.

    Args:
        train: jets to learn from.
        validation: jets that choose the best epoch.
        test: jets to measure on.
        source: name of the file or folder they are from.
    """

    train: Jets
    validation: Jets
    test: Jets
    source: str

    @property
    def repeated(self) -> int:
        """Jets of validation and test whose momentum is, bit for bit, that of a jet of another set."""
        sets = [
            jets.momenta()[jets.counts > 0].unique(dim=0) for jets in (self.train, self.validation, self.test)
        ]
        every = torch.cat(sets)
        return len(every) - len(every.unique(dim=0))

    def digests(self) -> dict[str, str]:
        """SHA-256 of each set."""
        return {name: getattr(self, name).digest for name in NAMES}

    def __str__(self) -> str:
        sizes = ", ".join(f"{len(getattr(self, name))} {name}" for name in NAMES)
        return f"{sizes} jets from {self.source}"


def read_split(path: str | Path, train: int, validation: int, test: int) -> Split:
    """The first ``train`` jets, the next ``validation`` and the next ``test`` of a file or a folder of shards.

    A folder with train, val and test in it, as files .h5 of the reference set or as folders of shards, keeps its
    own division, and the first jets of each are taken.

    Args:
        path: of the file or folder.
        train: number of jets to learn from.
        validation: number of jets that choose the best epoch.
        test: number of jets to measure on.

    Returns:
        The three sets.

    Raises:
        ValueError: where jets are too few or of one class.
    """
    path = Path(path)
    sizes = (train, validation, test)
    divided = _divided(path)
    if divided is not None:
        parts = [_first(part, n) for part, n in zip(divided, sizes, strict=True)]
    else:
        every, ends = load_jets(path), (train, train + validation, train + validation + test)
        parts = [every[begin:end] for begin, end in zip((0, *ends), ends, strict=False)]
    for name, part, n in zip(NAMES, parts, sizes, strict=True):
        if len(part) < n:
            raise ValueError(
                f"{train} training, {validation} validation and {test} test jets were asked for, but {path} leaves "
                f"only {len(part)} for {name}; make more (liesmith jets), or ask for fewer"
            )
        if len(part.label.unique()) < 2:
            raise ValueError(f"{name} needs top and QCD jets, got {part!r} from {path}")
    return Split(train=parts[0], validation=parts[1], test=parts[2], source=path.name)


def _divided(path: Path) -> list[Path] | None:
    """The three parts of a folder that is already divided."""
    for suffix in (".h5", ""):
        parts = [path / f"{name}{suffix}" for name in REFERENCE]
        if all(part.exists() for part in parts):
            return parts
    return None


def _first(path: Path, n: int) -> Jets:
    if path.is_dir():
        return load_jets(path)[:n]
    return Jets.join(list(ReferenceSet(path=path).chunks(end=n)))
