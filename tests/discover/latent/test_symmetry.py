import json
import math

import pytest
import torch
from conftest import EXACT

from discover.latent.autoencoder import Architecture, Autoencoder
from discover.latent.symmetry import LatentSymmetry
from equivariant import EMLP, LieAlgebra, catalogue
from equivariant.rep import Scalar, V


@pytest.fixture
def symmetry(generator) -> LatentSymmetry:
    torch.manual_seed(0)
    about = Architecture(encoder="mlp", shape=(3, 4), latent_dim=2, modes=5, width=8, depth=2)
    autoencoder = Autoencoder(about).double()
    modes = torch.linalg.qr(torch.randn(12, 5, generator=generator, dtype=torch.float64)).Q.mT
    autoencoder.reduction.modes.copy_(modes)
    return LatentSymmetry(autoencoder, catalogue.rotation(2))


def test_saved_and_loaded_gives_equal_outputs(symmetry, tmp_path):
    path = tmp_path / "latent.safetensors"
    symmetry.save(path)
    loaded = LatentSymmetry.load(path)
    x = torch.randn(4, 3, 4, dtype=torch.float64)
    assert loaded.digest == symmetry.digest
    assert loaded.encode(x).equal(symmetry.encode(x))
    assert loaded.decode(loaded.encode(x)).equal(symmetry.decode(symmetry.encode(x)))
    assert loaded.algebra.space == f"latent:{loaded.encoder_digest}"


def changed(path, content):
    """The file with one bit of its last weight flipped."""
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    return path


def test_a_changed_file_is_refused(symmetry, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import save_file

    path = tmp_path / "latent.safetensors"
    symmetry.save(path)
    with safe_open(path, framework="pt") as file:
        metadata, tensors = file.metadata(), {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    with pytest.raises(ValueError, match="checksum"):
        LatentSymmetry.load(changed(path, path.read_bytes()))
    del metadata["sha256"]  # the content has a digest of its own, as in files of version 0.1
    bias = next(name for name in tensors if name.endswith("bias"))
    save_file(tensors | {bias: tensors[bias] + 1}, path, metadata)
    with pytest.raises(ValueError, match="digest"):
        LatentSymmetry.load(path)
    save_file(tensors | {bias: tensors[bias] * math.nan}, path, metadata)
    with pytest.raises(ValueError, match="NaN"):
        LatentSymmetry.load(path)
    save_file({name: t for name, t in tensors.items() if name != bias}, path, metadata)
    with pytest.raises(ValueError, match="valid latent symmetry"):
        LatentSymmetry.load(path)
    save_file(tensors, path, metadata | {"format": "lie-algebra/1"})
    with pytest.raises(ValueError, match="latent-symmetry/1"):
        LatentSymmetry.load(path)
    path.write_bytes(b"no such thing")
    with pytest.raises(ValueError, match="not a safetensors file"):
        LatentSymmetry.load(path)
    with pytest.raises(FileNotFoundError):
        LatentSymmetry.load(tmp_path / "none")


def test_a_file_of_version_0_1_is_read(symmetry, tmp_path):
    from safetensors import safe_open
    from safetensors.torch import load_file, save_file

    path = tmp_path / "latent.safetensors"
    symmetry.save(path)
    with safe_open(path, framework="pt") as file:
        metadata = file.metadata()
    del metadata["sha256"]
    words = json.loads(metadata["algebra"])
    words["law"] = words.pop("distribution")
    save_file(load_file(path), path, metadata | {"algebra": json.dumps(words)})
    assert LatentSymmetry.load(path).digest == symmetry.digest


def test_acts_between_encoder_and_decoder(symmetry):
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    g = symmetry.sample(5)
    expected = symmetry.decode(torch.einsum("nij,nj->ni", g, symmetry.encode(x)))
    torch.testing.assert_close(symmetry.act(g, x), expected, rtol=EXACT, atol=EXACT)
    assert not torch.allclose(symmetry.act(g, x), symmetry.decode(symmetry.encode(x)))
    orbit = symmetry.flow(x, torch.tensor([0.0, 2 * math.pi, 1.0], dtype=torch.float64))
    assert orbit.shape == (3, 5, 3, 4)
    torch.testing.assert_close(orbit[0], orbit[1], rtol=EXACT, atol=EXACT)
    quarter = catalogue.rotation(2).element(torch.tensor([1.0], dtype=torch.float64))
    torch.testing.assert_close(orbit[2], symmetry.act(quarter, x), rtol=EXACT, atol=EXACT)


def test_as_an_augmentation_one_element_moves_a_whole_window(symmetry):
    x = torch.randn(6, 2, 3, 4, dtype=torch.float64)
    moved = symmetry(x, torch.Generator().manual_seed(0))
    g = symmetry.sample(6, torch.Generator().manual_seed(0))
    for step in range(2):
        torch.testing.assert_close(moved[:, step], symmetry.act(g, x[:, step]), rtol=EXACT, atol=EXACT)


def test_latent_models_take_the_algebra(symmetry):
    model = EMLP(V, Scalar, symmetry.algebra, hidden=8, layers=1).double()
    z = symmetry.encode(torch.randn(4, 3, 4, dtype=torch.float64))
    g = symmetry.sample(4)
    torch.testing.assert_close(model(torch.einsum("nij,nj->ni", g, z)), model(z), rtol=1e-8, atol=1e-10)


def test_a_copy_elsewhere_keeps_what_it_is(symmetry):
    other = symmetry.to(torch.float32)
    x = torch.randn(4, 3, 4)
    torch.testing.assert_close(other.encode(x), symmetry.encode(x.double()).float(), rtol=1e-4, atol=1e-5)


def test_adapted_coordinates_move_data_the_same_way_and_keep_the_dot_product(symmetry):
    squeeze = torch.diag(torch.tensor([3.0, 1.0], dtype=torch.float64))
    origin = torch.tensor([0.3, -0.2], dtype=torch.float64)
    turn = squeeze @ catalogue.rotation(2).basis.double() @ squeeze.inverse()
    askew = LatentSymmetry(symmetry.autoencoder, LieAlgebra(turn, origin=origin))
    adapted = askew.adapted()
    x, times = torch.randn(5, 3, 4, dtype=torch.float64), torch.tensor([0.0, 0.7], dtype=torch.float64)
    torch.testing.assert_close(adapted.flow(x, times), askew.flow(x, times), rtol=1e-9, atol=1e-9)
    frame = torch.tensor(adapted.algebra.provenance["frame"], dtype=torch.float64)
    torch.testing.assert_close(adapted.encode(x), askew.encode(x) @ frame.mT, rtol=1e-9, atol=1e-9)
    L = adapted.algebra.basis[0]
    torch.testing.assert_close(L, -L.mT, rtol=1e-9, atol=1e-9)
    assert adapted.algebra.space != askew.algebra.space
    assert askew.inner_product().metric[0, 0] < 0.5  # the first one is left as it was


def test_exact_generators_keep_the_dot_product_to_the_last_digit(symmetry):
    spiral = LieAlgebra(torch.tensor([[[0.02, -1.0], [1.0, 0.02]]], dtype=torch.float64))
    learned = LatentSymmetry(symmetry.autoencoder, spiral)
    exact = learned.adapted(exact=True).algebra.basis[0]
    assert torch.equal(exact, -exact.mT)
    assert float(exact[1, 0]) == pytest.approx(1.0, abs=1e-9)
    assert learned.adapted().algebra.basis[0].trace() == pytest.approx(0.04)
    boost = LatentSymmetry(symmetry.autoencoder, LieAlgebra(torch.tensor([[[0.0, 1.0], [1.0, 0.0]]])))
    with pytest.raises(ValueError, match="leave no inner product invariant"):
        boost.adapted(exact=True)
    assert boost.adapted().latent_dim == 2


def test_convolutions_have_adapted_coordinates_too():
    about = Architecture(encoder="conv1d", shape=(16,), latent_dim=2, modes=0, width=4, depth=2)
    autoencoder = Autoencoder(about).double()
    frame = torch.tensor([[2.0, 1.0], [0.0, 0.5]], dtype=torch.float64)
    x = torch.randn(3, 16, dtype=torch.float64)
    other = autoencoder.in_frame(frame)
    torch.testing.assert_close(other.encode(x), autoencoder.encode(x) @ frame.mT, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(other(x), autoencoder(x), rtol=1e-9, atol=1e-9)
    assert not torch.allclose(autoencoder.encode(x), other.encode(x))


def test_refuses_what_does_not_fit(symmetry):
    with pytest.raises(ValueError, match="latent space of 2"):
        LatentSymmetry(symmetry.autoencoder, LieAlgebra(torch.zeros(1, 3, 3)))
    with pytest.raises(ValueError, match="snapshots must have shape"):
        symmetry.encode(torch.randn(4, 12))
    with pytest.raises(ValueError, match="latent vectors"):
        symmetry.decode(torch.randn(4, 3))
