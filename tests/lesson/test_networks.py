"""The networks of the pages start as their rule says, and the same every time."""

from functools import partial

import pytest
import torch
from torch import nn

from dlopt.activations import Maxout
from dlopt.lesson.networks import Reader, mlp
from dlopt.skips import Skip


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def test_mlp():
    module = mlp([64, 100, 80, 10], seeded(0), activation=nn.ReLU, init="he")
    assert [type(m) for m in module] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU, nn.Linear]
    assert all(p.requires_grad for p in module.parameters())
    assert module[0].weight.detach().std().item() == pytest.approx((2 / 64) ** 0.5, rel=0.05)
    assert not module[0].bias.any()
    glorot = mlp([64, 100], seeded(0), init="glorot", scale=3.0)[0].weight.detach()
    assert glorot.std().item() == pytest.approx(3 * (2 / 164) ** 0.5, rel=0.05)
    default = mlp([64, 1000], seeded(0))[0]
    for p in default.parameters():
        assert p.detach().abs().max().item() == pytest.approx(1 / 8, rel=0.01)
        assert p.detach().std().item() == pytest.approx(1 / 8 / 3**0.5, rel=0.06)
    assert torch.equal(default.weight, mlp([64, 1000], seeded(0))[0].weight)


def test_the_global_random_numbers_are_left_alone():
    before = torch.get_rng_state()
    mlp([4, 6, 3], seeded(0))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("widths", "options", "message"),
    [([4], {}, r"widths .* got \[4\]"), ([4, 2], {"init": "best"}, "rule .* got 'best'")],
)
def test_wrong_arguments_are_named(widths, options, message):
    with pytest.raises(ValueError, match=message):
        mlp(widths, seeded(0), **options)


def test_a_norm_stands_before_each_nonlinearity_and_takes_the_place_of_the_bias():
    module = mlp([8, 5, 5, 3], seeded(0), norm=nn.BatchNorm1d, activation=nn.ReLU)
    kinds = [nn.Linear, nn.BatchNorm1d, nn.ReLU] * 2 + [nn.Linear]
    assert [type(m) for m in module] == kinds
    assert [m.bias is None for m in module if isinstance(m, nn.Linear)] == [True, True, False]
    assert [m.num_features for m in module if isinstance(m, nn.BatchNorm1d)] == [5, 5]


def test_skips_add_the_input_where_widths_agree():
    x = torch.randn(4, 8, generator=seeded(1))
    plain, short = (mlp([8, 5, 5, 3], seeded(0), skip=skip) for skip in (None, 1.0))
    assert [type(m) for m in short] == [nn.Linear, nn.Tanh, Skip, nn.Linear]
    first = plain[:2](x)
    expected = plain[4](first + plain[2:4](first))
    torch.testing.assert_close(short(x), expected)


@pytest.mark.parametrize("norm", [None, nn.BatchNorm1d])
def test_maxout_gets_its_pieces(norm):
    module = mlp([8, 5, 5, 3], seeded(0), activation=partial(Maxout, 2), norm=norm, skip=0.5)
    linear = [m for m in module.modules() if isinstance(m, nn.Linear)]
    assert [(m.in_features, m.out_features) for m in linear] == [(8, 10), (5, 10), (5, 3)]
    assert isinstance(module[-2], Skip) and module[-2].scale == 0.5
    assert module(torch.randn(4, 8, generator=seeded(1))).shape == (4, 3)


def test_skips_may_be_learned():
    x = torch.randn(4, 8, generator=seeded(1))
    module = mlp([8, 5, 5, 3], seeded(0), skip="learned")
    without = nn.Sequential(*module[:2], module[-1])
    assert torch.equal(module(x), without(x))


def test_an_activation_of_ones_own_has_its_variance():
    class Doubled(nn.Module):
        def forward(self, z):
            return 2 * z

    weight = mlp([99, 300, 300], seeded(0), activation=Doubled, init="variance")[2].weight
    assert float(weight.detach().square().mean()) * 300 == pytest.approx(1 / 4, rel=0.05)


def test_a_reader_answers_at_the_end_that_is_marked():
    reader = Reader(2, 5, 3, seeded(0))
    x = torch.randn(4, 7, 3, generator=seeded(1))
    x[..., -1] = torch.eye(7)[[6, 2, 0, 4]]
    for row, length in enumerate((7, 3, 1, 5)):
        h = torch.zeros(1, 5)
        for t in range(length):
            h = reader.cell(x[row, t, :-1][None], h)
        torch.testing.assert_close(reader(x)[row], reader.answer(h)[0])


def test_what_follows_the_end_has_no_effect_and_the_start_is_the_seeds():
    x = torch.zeros(1, 6, 2)
    x[0, 2, 1] = 1
    later = x.clone()
    later[0, 3:, 0] = 5.0
    reader = Reader(1, 4, 2, seeded(3))
    assert torch.equal(reader(x), reader(later))
    assert torch.equal(reader(x), Reader(1, 4, 2, seeded(3))(x))
    assert max(p.detach().abs().max() for p in reader.parameters()) <= 0.5
