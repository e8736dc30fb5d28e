import math

import pytest
import torch
from conftest import LEARNED, SINGLE

from discover import LieGAN, Spectral, refine
from discover.adversarial.generator import Generator
from discover.data.search_space import SearchSpace
from equivariant import CoefficientDistribution, LieAlgebra, catalogue, compare, cosine
from equivariant.rep import Scalar, V

QUICK = {"steps": 600, "cooldown": 300, "progress": False, "evaluation_steps": 400}
BRIEF = {"progress": False, "evaluation_steps": 10}


@pytest.fixture(scope="module")
def fitted(half_turn) -> LieGAN:
    x, y = half_turn
    return LieGAN(**QUICK).fit(x, y, coordinates=("a", "b"))


def test_finds_the_rotation(fitted):
    assert cosine(fitted.algebra_, catalogue.rotation(2)) > 1 - LEARNED


def test_the_verdict_tells_the_map_from_the_distribution(fitted):
    assert fitted.verdict_.map == "holds"
    assert fitted.verdict_.distribution == "broken"
    assert fitted.verdict_.passed


@pytest.mark.parametrize("size", [1.0, None])
@pytest.mark.parametrize("c", [1, 2])
def test_exported_generators_are_the_sampled_ones(size, c, generator):
    """Elements on whitened data, seen in the data's own coordinates, are those of the exported basis."""
    data = torch.randn(100, 3, generator=generator, dtype=torch.float64) * torch.tensor([1.0, 5.0, 0.2])
    space = SearchSpace.of_data(data, "free")
    learned = Generator(space, CoefficientDistribution.normal(c), size=size).double()
    with torch.no_grad():
        learned.weight.mul_(0.7)
        g = learned(5, torch.Generator().manual_seed(0))
        w = learned.distribution.sample(5, torch.Generator().manual_seed(0))
        exported = LieAlgebra(learned.basis).element(w)
    decode, encode = space.whitening.decode, space.whitening.encode
    torch.testing.assert_close(decode @ g @ encode, exported, rtol=SINGLE, atol=SINGLE)


def test_provenance_says_how(fitted):
    provenance = fitted.algebra_.provenance
    assert provenance["method"] == "LieGAN"
    assert provenance["seed"] == 0
    assert provenance["config"]["steps"] == QUICK["steps"]
    assert len(provenance["data"]) == 64
    assert fitted.algebra_.coordinates == ("a", "b")


def test_same_seed_same_digest_and_other_seed_another(half_turn):
    def run(seed: int) -> str:
        torch.rand(seed + 1)  # the global generator must not matter
        settings = BRIEF | {"steps": 60, "cooldown": 20}
        return LieGAN(seed=seed, **settings).fit(*half_turn).algebra_.digest

    assert run(1) == run(1)
    assert run(1) != run(2)


def test_a_run_interrupted_within_a_step_continues_as_if_it_had_not_been(half_turn, tmp_path, ctrl_c):
    settings = BRIEF | {"steps": 120, "cooldown": 40}
    whole = LieGAN(**settings).fit(*half_turn)
    path = tmp_path / "run.ckpt"
    ctrl_c(step=70)
    with pytest.raises(KeyboardInterrupt):
        LieGAN(checkpoint=path, **settings).fit(*half_turn)
    assert path.exists()
    resumed = LieGAN(checkpoint=path, **settings).fit(*half_turn)
    assert resumed.algebra_.basis.equal(whole.algebra_.basis)
    assert [row["step"] for row in resumed.history_] == [row["step"] for row in whole.history_]


def test_checkpoint_of_another_run_is_refused(half_turn, tmp_path):
    path = tmp_path / "run.ckpt"
    settings = BRIEF | {"steps": 10, "cooldown": 0, "checkpoint": path}
    LieGAN(**settings).fit(*half_turn)
    with pytest.raises(ValueError, match="other settings or data"):
        LieGAN(seed=5, **settings).fit(*half_turn)


def test_three_channels_find_so3(generator):
    x = torch.randn(3000, 3, generator=generator, dtype=torch.float64)
    y = (x.norm(dim=1) > 1.5).long()
    estimator = LieGAN(n_generators=3, **(QUICK | BRIEF)).fit(x, y)
    assert compare.subspace_error(estimator.algebra_, catalogue.rotation(3)) < 0.3
    assert refine(estimator.algebra_, x, tolerance=0.3).algebra.closure_error() < 1e-9


def test_integer_coefficients_find_the_step_of_a_discrete_group(generator):
    x = torch.randn(4000, 2, generator=generator, dtype=torch.float64)
    y = x.norm(dim=1) * torch.cos(3 * torch.atan2(x[:, 1], x[:, 0]))
    estimator = LieGAN(
        distribution="integer", distribution_scale=1, generator_size=None, identity_penalty=3.0, learning_rate=5e-3,
        steps=1500, cooldown=500, **BRIEF,
    ).fit(x, y)  # fmt: skip
    angle = float(torch.linalg.eigvals(estimator.algebra_.basis[0]).imag.abs().max())
    assert abs(angle / (2 * math.pi / 3) - 1) < 0.02
    assert estimator.algebra_.distribution.kind == "integer"


@pytest.mark.parametrize("distribution", ["normal", "uniform"])
def test_distributions_can_be_learned(half_turn, distribution):
    estimator = LieGAN(
        distribution=distribution,
        learn_distribution=True,
        identity_penalty=1.0,
        steps=80,
        cooldown=20,
        **BRIEF,
    )
    algebra = estimator.fit(*half_turn).algebra_
    assert algebra.distribution.kind == distribution
    assert float(algebra.distribution.scale[0]) != 1.0


def test_several_steps_and_scalars_in_one_sample(half_turn):
    x, y = half_turn
    both = torch.cat([x, y, x.norm(dim=1, keepdim=True)], dim=1)
    estimator = LieGAN(**(QUICK | BRIEF)).fit(
        both, x[:, 0] * y[:, 0] + x[:, 1] * y[:, 1], x_rep=2 * V + Scalar
    )
    assert estimator.algebra_.dim == 2
    assert cosine(estimator.algebra_, catalogue.rotation(2)) > 1 - LEARNED


def test_published_settings_run(half_turn):
    estimator = LieGAN.published(steps=30, search_space="free", **BRIEF, critic_averaging=0.9)
    assert estimator.fit(*half_turn).algebra_.n_generators == 1


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_generators": 0}, "n_generators must be positive"),
        ({"distribution": "gaussian"}, "distribution must be one of"),
        ({"distribution": "integer"}, "generator_size=None"),
        ({"learn_distribution": True}, "identity_penalty"),
        ({"dtype": "float16"}, "dtype"),
        ({"steps": 0}, "steps must be positive"),
        ({"held_out": 1.0}, "held_out"),
        ({"cooldown": -1}, "cooldown"),
        ({"n_generators": 5}, "at most 4, the dimension of the search space"),
        ({"n_generators": 3, "search_space": "0|1"}, "at most 2"),
        ({"search_space": "blocks:3"}, "search space"),
    ],
)
def test_settings_that_contradict_are_refused(half_turn, settings, said):
    with pytest.raises(ValueError, match=said):
        LieGAN(progress=False, **settings).fit(*half_turn)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
@pytest.mark.parametrize("estimator", [LieGAN, Spectral])
def test_a_device_that_is_not_there_gets_a_sentence(half_turn, estimator):
    with pytest.raises(ValueError, match="sees no GPU"):
        estimator(device="cuda", progress=False).fit(*half_turn)


@pytest.mark.parametrize("estimator", [LieGAN, Spectral])
def test_wrong_coordinates_are_refused_before_any_work(half_turn, estimator):
    made = estimator(steps=1, **BRIEF) if estimator is Spectral else estimator(steps=1, cooldown=0, **BRIEF)
    with pytest.raises(ValueError, match="2 different names"):
        made.fit(*half_turn, coordinates=("a",))
    assert not hasattr(made, "space_")


def test_all_zero_data_are_refused():
    with pytest.raises(ValueError, match="zero"):
        LieGAN(progress=False).fit(torch.zeros(50, 2))


def test_float64_is_trained_in_float64(half_turn):
    estimator = LieGAN(dtype="float64", steps=30, cooldown=10, **BRIEF).fit(*half_turn)
    assert estimator.algebra_.basis.dtype == torch.float64


def test_few_steps_need_no_shorter_cooldown(half_turn):
    estimator = LieGAN(steps=20, **BRIEF).fit(*half_turn)
    assert estimator.steps_ == 20
    assert estimator.cooldown > 20  # fit changes no setting
