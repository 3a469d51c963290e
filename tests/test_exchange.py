"""Exchanged tensors come back to the bit, whatever happens in between."""

import pytest
import torch
from torch import nn

from dlopt.exchange import buffers_held, exchanged

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16]


def pair(dtype):
    generator = torch.Generator().manual_seed(0)
    tensors = [torch.randn(n, generator=generator).to(dtype) for n in (3, 1, 7)]
    wide = torch.promote_types(dtype, torch.float32)
    return tensors, [torch.randn(t.shape, generator=generator).to(wide) for t in tensors]


def bits(tensors):
    return [t.clone().view(torch.uint8) for t in tensors]


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("error", [None, ZeroDivisionError, KeyboardInterrupt])
def test_both_come_back_to_the_bit(dtype, error):
    tensors, values = pair(dtype)
    tensors[0][:2] = torch.tensor([-0.0, torch.inf])
    before, wanted = bits([*tensors, *values]), [v.to(dtype, copy=True) for v in values]
    places = [t.data_ptr() for t in tensors]
    try:
        with exchanged(tensors, values):
            assert same(tensors, wanted)
            if error:
                raise error
    except (ZeroDivisionError, KeyboardInterrupt) as raised:
        assert isinstance(raised, error)
    assert same(bits([*tensors, *values]), before)
    assert [t.data_ptr() for t in tensors] == places


def test_blocks_may_stand_in_each_other():
    tensors, values = pair(torch.float32)
    others = [v + 1 for v in values]
    before = bits([*tensors, *values])
    with exchanged(tensors, values):
        with exchanged(tensors, others):
            assert not same(tensors, values)
        assert same(bits([*values, *tensors]), before)
    assert same(bits([*tensors, *values]), before)


def test_a_change_inside_is_said_and_the_tensors_come_back():
    tensors, values = pair(torch.float32)
    before = bits(tensors)
    with pytest.raises(RuntimeError, match="must not be changed"), exchanged(tensors, values):
        tensors[1].add_(1e-3)
    assert same(bits(tensors), before)
    with pytest.raises(ZeroDivisionError), exchanged(tensors, values):  # the error that matters
        tensors[1].add_(1e-3)
        raise ZeroDivisionError


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_what_is_not_finite_is_not_put_in(bad):
    tensors, values = pair(torch.float32)
    values[1][0] = bad
    before = bits(tensors)
    with pytest.raises(ValueError, match="must be finite"), exchanged(tensors, values):
        raise AssertionError
    assert same(bits(tensors), before)


def test_gradients_and_their_mode_are_left_alone():
    theta = nn.Parameter(torch.tensor([1.0]))
    theta.grad = torch.tensor([5.0])
    with exchanged([theta], [torch.tensor([3.0])]):
        assert torch.is_grad_enabled() and theta.requires_grad
        assert torch.autograd.grad((theta**2).sum(), theta)[0] == 6
    assert theta.grad == 5 and torch.is_grad_enabled()


def test_buffers_come_back_as_objects_and_values():
    layer = nn.BatchNorm1d(2)
    mean, count = layer.running_mean, layer.num_batches_tracked
    with pytest.raises(ZeroDivisionError), buffers_held(layer):
        layer(torch.randn(5, 2))
        layer.running_mean = torch.ones(2)
        raise ZeroDivisionError
    assert layer.running_mean is mean and mean.abs().max() == 0
    assert layer.num_batches_tracked is count and count == 0


def test_a_change_of_signs_or_places_alone_is_noticed() -> None:
    for change in (lambda t: t.neg_(), lambda t: t.copy_(t.flip(0))):
        theta, value = torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])
        with pytest.raises(RuntimeError, match="must not be changed"), exchanged([theta], [value]):
            change(theta)
        assert theta.tolist() == [1, 2]


def test_an_exchange_within_an_exchange_is_no_change() -> None:
    theta, first, second = (torch.tensor([k, k + 1.0]) for k in range(3))
    with exchanged([theta], [first]):
        with exchanged([theta], [second]):
            assert theta.tolist() == [2, 3]
        assert theta.tolist() == [1, 2]
    assert theta.tolist() == [0, 1]


def test_a_value_of_another_shape_leaves_all_as_it_was() -> None:
    thetas, values = [torch.ones(2), torch.ones(3)], [torch.zeros(2), torch.zeros(1)]
    with pytest.raises(ValueError, match=r"shape \(3,\), got \(1,\)"), exchanged(thetas, values):
        pass
    assert [t.sum().item() for t in (*thetas, *values)] == [2, 3, 0, 0]
