"""Each replica meets the examples of its own data set."""

import pytest
import torch

from dlopt.training.examples import Examples


def data(seed, m=6):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(m, 2, 3, generator=generator), torch.randint(9, (m,), generator=generator)


A, B = data(0), data(1)


@pytest.mark.parametrize("sets", [[A, A, A], [A, B, A], [B, A, data(2)]])
def test_a_replica_meets_its_own_examples(sets):
    examples = Examples(sets)
    positions = torch.tensor([[0, 5], [2, 2], [4, 1]])
    batch, whole = examples.at(positions), examples.whole(slice(1, 3))
    assert examples.m == 6
    for k in range(2):
        for r in range(3):
            assert torch.equal(batch[k][r], sets[r][k][positions[r]])
        assert torch.equal(whole[k], torch.stack([sets[1][k], sets[2][k]]))


def test_what_all_share_is_held_once():
    examples = Examples([A] * 50)
    assert examples.whole(slice(0, 50))[0].untyped_storage().data_ptr() == A[0].data_ptr()


def test_the_layout_in_memory_does_not_matter():
    x = torch.randn(6, 3, 4, 4).to(memory_format=torch.channels_last)
    y = torch.arange(12)[::2]
    batch = Examples([(x, y)]).at(torch.tensor([[3, 1]]))
    assert torch.equal(batch[0][0], x[[3, 1]])
    assert batch[1].tolist() == [[6, 2]]


def test_sets_of_other_shapes_are_rejected():
    with pytest.raises(ValueError, match=r"one shape, got .*\(6, 2, 3\).*\(5, 2, 3\)"):
        Examples([A, data(0, m=5)])
