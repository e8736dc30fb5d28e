import pytest
import torch
from conftest import SHARED

from tasks.top_tagging import Jets, load_jets


def random_jets(counts, seed=0) -> Jets:
    """Massless constituents about one axis, of about 600 GeV in all, hardest first; half of each label."""
    generator = torch.Generator().manual_seed(seed)
    counts = torch.tensor(counts)
    p3 = []
    for n in counts.tolist():
        direction = torch.tensor([1.0, 0.2, 0.3]) + 0.2 * torch.randn(n, 3, generator=generator)
        p3.append(direction * torch.rand(n, 1, generator=generator))
        if n:
            p3[-1] = p3[-1] * 600 / p3[-1].sum(0)[:2].norm()
            p3[-1] = p3[-1][p3[-1][:, :2].norm(dim=1).argsort(descending=True)]
    return Jets(
        p3=torch.cat([torch.zeros(0, 3), *p3]),
        offsets=torch.cat([torch.zeros(1).long(), counts.cumsum(0)]),
        label=(torch.arange(len(counts)) % 2).to(torch.int8),
    )


@pytest.fixture
def jets() -> Jets:
    return random_jets([5, 3, 0, 1, 8, 4])


@pytest.fixture(scope="session")
def shared_jets() -> Jets:
    path = SHARED / "jets_15k.npz"
    if not path.exists():
        pytest.skip("the shared sample of jets is not on this machine")
    return load_jets(path)


@pytest.fixture(scope="session")
def some_jets() -> Jets:
    """Sixty small jets, thirty of each label."""
    return random_jets([3 + i % 4 for i in range(60)])


def broad_and_narrow(n, seed):
    """Wide jets of many constituents, called top, and narrow ones."""
    generator = torch.Generator().manual_seed(seed)
    label = torch.arange(n) % 2
    counts = torch.randint(2, 6, (n,), generator=generator) + 4 * label
    owner = torch.arange(n).repeat_interleave(counts)
    width = (0.03 + 0.2 * label)[owner, None]
    direction = torch.tensor([1.0, 0.2, 0.3]) + width * torch.randn(len(owner), 3, generator=generator)
    offsets = torch.cat([torch.zeros(1).long(), counts.cumsum(0)])
    return Jets(p3=100 * direction, offsets=offsets, label=label.to(torch.int8))


@pytest.fixture(scope="session")
def train():
    return broad_and_narrow(70, seed=0)


@pytest.fixture(scope="session")
def validation():
    return broad_and_narrow(30, seed=1)
