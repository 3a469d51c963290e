"""A seed decides the minibatches, whoever else trains beside it."""

from itertools import chain

import torch

from dlopt.training.minibatches import Minibatches


def epochs(count, *arguments):
    minibatches = Minibatches(*arguments)
    return [[*minibatches.epoch()] for _ in range(count)]


def test_every_epoch_holds_each_example_once_in_another_order():
    first, second = epochs(2, 12, 5, [7])
    assert [batch.shape for batch in first] == [(1, 5), (1, 5), (1, 2)]
    orders = [torch.cat(epoch, dim=1)[0].tolist() for epoch in (first, second)]
    assert sorted(orders[0]) == sorted(orders[1]) == list(range(12))
    assert orders[0] != orders[1] != list(range(12)) != orders[0]


def test_without_a_size_a_minibatch_holds_all_examples():
    ((batch,),) = epochs(1, 12, None, [0, 1])
    assert batch.shape == (2, 12)


def test_a_seed_sees_the_same_alone_and_beside_others():
    alone, together = (chain(*epochs(3, 12, 5, seeds)) for seeds in ([7], [8, 7, 8, 7]))
    for a, b in zip(alone, together, strict=True):
        assert torch.equal(b[[1, 3]], a.expand(2, -1))
        assert torch.equal(b[0], b[2])
        assert not torch.equal(b[0], b[1])


def test_the_order_is_drawn_apart_from_the_start_and_from_the_global_random_numbers():
    before = torch.get_rng_state()
    ((batch,),) = epochs(1, 50, None, [0])
    assert torch.equal(torch.get_rng_state(), before)
    assert not torch.equal(batch[0], torch.randperm(50, generator=torch.Generator().manual_seed(0)))
