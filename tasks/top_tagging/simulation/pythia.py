"""Collisions from Pythia 8 as flat arrays: gg, qq -> t t (all hadronic) or hard QCD, at 14 TeV."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

__all__ = ["EXTRA", "SETTINGS", "Events", "Kind", "collisions", "missing_extra"]

Kind = Literal["top", "qcd"]
EXTRA = "pip install 'liesmith[jets]'"

COMMON = (
    "Print:quiet = on",
    "Beams:eCM = 14000.",
    "PartonLevel:MPI = off",
    "PhaseSpace:pTHatMin = 350.",  # higher is faster, but leaves out QCD jets and makes the task too easy
    "ParticleDecays:limitTau0 = on",  # K0s, Lambda and their like reach the calorimeter whole,
    "ParticleDecays:tau0Max = 10.",  # as in a detector simulation: what flies 10 mm is stable
)
SETTINGS: dict[Kind, tuple[str, ...]] = {
    "top": (
        *COMMON,
        "Top:gg2ttbar = on",
        "Top:qqbar2ttbar = on",
        "24:onMode = off",
        "24:onIfAny = 1 2 3 4 5",
    ),
    "qcd": (*COMMON, "HardQCD:all = on"),
}
TOP, W = 6, 24
NEUTRINOS = (12, 14, 16)
LARGEST_SEED = 900_000_000  # what Pythia takes


@dataclass(frozen=True, kw_only=True, eq=False)
class Events:
    """Final particles (m,) of n events, neutrinos left out, and the decaying tops.

    ``event`` (m,) in 0..n-1 and rising; ``pdg`` (m,) numbers of the Particle Data Group; ``charge`` (m,) [e];
    ``p4`` (m, 4) (E, px, py, pz) [GeV]; ``vertex`` (m, 3) [m] where it was made. Each hadronic top has a row
    in ``top_event`` (t,) and in ``partons`` (t, 4, 4): four-momenta [GeV] of top, b and the two quarks of the W.
    """

    n: int
    event: np.ndarray
    pdg: np.ndarray
    charge: np.ndarray
    p4: np.ndarray
    vertex: np.ndarray
    top_event: np.ndarray
    partons: np.ndarray


def collisions(kind: Kind, seed: int, batch: int = 500) -> Iterator[Events]:
    """Endless batches of ``batch`` events; the same seed (1 to 900,000,000) gives the same events.

    Raises ``ImportError`` without the extra, ``ValueError`` for an unknown kind, seed or a refused setting,
    and ``RuntimeError`` where Pythia gives up.
    """
    pythia = _pythia(kind, seed)
    while True:
        events = pythia.nextBatch(batch)
        if len(events) != batch:
            raise RuntimeError(f"Pythia made {len(events)} of {batch} events and gave up")
        yield _flat(events.prt, pythia.particleData)


def missing_extra(error: ImportError) -> ImportError:
    """The error to raise where a package of the extra is absent."""
    return ImportError(f"generating jets needs the extra 'jets' ({error}); {EXTRA}")


def _pythia(kind: Kind, seed: int) -> Any:
    try:
        import pythia8mc
    except ImportError as error:
        raise missing_extra(error) from None
    if kind not in SETTINGS:
        raise ValueError(f"unknown kind of events {kind!r}; choose from {sorted(SETTINGS)}")
    if not 1 <= seed <= LARGEST_SEED:
        raise ValueError(f"Pythia takes a seed from 1 to {LARGEST_SEED}, got {seed}")
    pythia = pythia8mc.Pythia("", False)
    for line in (*SETTINGS[kind], "Random:setSeed = on", f"Random:seed = {seed}"):
        if not pythia.readString(line):
            raise ValueError(f"Pythia refused the setting {line!r}; this release has another name for it")
    if not pythia.init():
        raise RuntimeError(f"Pythia could not be started for {kind} events")
    return pythia


def _flat(record: Any, data: Any) -> Events:
    """One awkward event record (n events of their particles) as numpy arrays of the final particles."""
    import awkward

    def column(values: Any) -> np.ndarray:
        return awkward.to_numpy(awkward.flatten(awkward.fill_none(values, 0.0), axis=1))

    lengths = awkward.to_numpy(awkward.num(record.id))
    event = np.repeat(np.arange(len(lengths)), lengths)
    pdg, status = column(record.id), column(record.status)
    p4 = np.stack([column(record.p[name]) for name in ("e", "px", "py", "pz")], axis=1)
    begin = (np.cumsum(lengths) - lengths)[event]
    daughters = np.stack([begin + column(record[name]) for name in ("daughter1", "daughter2")], axis=1)
    tops, partons = _decays(pdg, daughters)
    final = (status > 0) & ~np.isin(np.abs(pdg), NEUTRINOS)
    vertex = np.stack([column(record.vProd[name]) for name in ("px", "py", "pz")], axis=1) / 1e3  # mm to m
    return Events(
        n=len(lengths),
        event=event[final],
        pdg=pdg[final],
        charge=_charges(pdg[final], data),
        p4=p4[final],
        vertex=vertex[final],
        top_event=event[tops],
        partons=p4[partons],
    )


def _decays(pdg: np.ndarray, daughters: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the last copies of tops (t,), and of (top, b, quark, quark) for each (t, 4)."""
    children = np.abs(pdg)[daughters]
    tops = np.flatnonzero((np.abs(pdg) == TOP) & ~(children == TOP).any(axis=1))
    tops = tops[(children[tops] == W).any(axis=1)]
    boson, bottom = _split(daughters[tops], children[tops] == W)
    while (copies := (children[boson] == W).any(axis=1)).any():
        boson[copies] = _split(daughters[boson[copies]], children[boson[copies]] == W)[0]
    hadronic = (children[boson] <= TOP).all(axis=1)
    rows = np.column_stack([tops, bottom, daughters[boson]])
    return tops[hadronic], rows[hadronic]


def _split(daughters: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The chosen one of two daughters (n, 2), and the other."""
    first = chosen[:, 0]
    one, two = daughters.T
    return np.where(first, one, two), np.where(first, two, one)


def _charges(pdg: np.ndarray, data: Any) -> np.ndarray:
    kinds, place = np.unique(pdg, return_inverse=True)
    return np.array([data.charge(int(kind)) for kind in kinds])[place]
