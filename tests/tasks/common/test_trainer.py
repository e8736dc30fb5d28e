import pytest
import torch

from tasks.common.trainer import Trainer, mean_squared_error


@pytest.fixture
def line(generator):
    x = torch.randn(200, 3, generator=generator)
    return x, x @ torch.tensor([[1.0], [-2.0], [0.5]])


def model():
    torch.manual_seed(0)
    return torch.nn.Linear(3, 1)


def trainer(**changes):
    return Trainer(**({"steps": 60, "batch_size": 50, "learning_rate": 0.1, "progress": False} | changes))


@pytest.mark.parametrize("huber_delta", [None, 0.1])
def test_it_fits_a_line(line, huber_delta):
    net = model()
    trainer(steps=400, huber_delta=huber_delta).fit(net, *line)
    assert mean_squared_error(net, *line) < 1e-4


def test_outliers_dominate_the_squared_but_not_the_huber_loss(line):
    x, y = line[0], line[1].clone()
    y[:6] += 50
    errors = {}
    for huber_delta in (None, 0.1):
        net = model()
        trainer(steps=600, huber_delta=huber_delta).fit(net, x, y)
        errors[huber_delta] = mean_squared_error(net, x[6:], y[6:])
    assert errors[0.1] < 1e-2 < errors[None]


def test_the_same_seed_gives_the_same_weights(line):
    weights = []
    for seed in (0, 0, 1):
        net = model()
        trainer(seed=seed).fit(net, *line)
        weights.append(net.weight.detach().clone())
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_a_run_cut_short_goes_on_where_it_was(tmp_path, line):
    whole = model()
    trainer().fit(whole, *line)

    class Stop(Exception):
        pass

    calls = 0

    def stop_later(x, y, generator):
        nonlocal calls
        calls += 1
        if calls > 31:
            raise Stop
        return x, y, lambda prediction: prediction

    cut = model()
    settings = {"checkpoint": tmp_path / "run.pt"}
    with pytest.raises(Stop):
        trainer(**settings).fit(cut, *line, transform=stop_later)
    resumed = model()
    run = trainer(**settings).fit(resumed, *line)
    assert run.history_[-1]["step"] == 60
    assert torch.equal(resumed.weight, whole.weight)


def test_a_finished_run_is_not_trained_again(tmp_path, line):
    net, again = model(), model()
    trainer(checkpoint=tmp_path / "run.pt").fit(net, *line)
    trainer(checkpoint=tmp_path / "run.pt").fit(again, *line)
    assert torch.equal(net.weight, again.weight)


def test_a_checkpoint_of_other_settings_is_refused(tmp_path, line):
    trainer(checkpoint=tmp_path / "run.pt").fit(model(), *line)
    with pytest.raises(ValueError, match="other settings"):
        trainer(checkpoint=tmp_path / "run.pt", learning_rate=0.2).fit(model(), *line)


def test_the_rate_warms_up_and_falls_to_zero(line):
    rates = [row["learning_rate"] for row in trainer(steps=100).fit(model(), *line).history_]
    assert rates[0] < rates[4]
    assert rates[-1] < 1e-2 * max(rates)
    steady = trainer(steps=100, constant=True).fit(model(), *line).history_
    assert {row["learning_rate"] for row in steady} == {0.1}


def test_a_loss_that_is_no_number_stops_the_run(line):
    with pytest.raises(FloatingPointError, match="lower learning_rate"):
        trainer().fit(model(), line[0], line[1] * float("nan"))


@pytest.mark.parametrize("change", [{"batch_size": 0}, {"learning_rate": -1.0}, {"steps": -1}])
def test_settings_out_of_range_are_refused(line, change):
    with pytest.raises(ValueError, match=next(iter(change))):
        trainer(**change).fit(model(), *line)
