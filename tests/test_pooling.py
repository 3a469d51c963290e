"""Pools of batches are those of the whole."""

import torch

from dlopt.pooling import Pool


def test_joined_pools_are_the_pool_of_all():
    H = torch.randn(30, 4, 2, generator=torch.Generator().manual_seed(0)).double() + 5
    parts = [Pool.of(part) for part in H.sort(0).values.split([1, 12, 17])]
    whole, joined = Pool.of(H), parts[0].joined(parts[1]).joined(parts[2])
    assert joined.count == whole.count == 60
    torch.testing.assert_close(joined.mean, whole.mean, rtol=1e-13, atol=0)
    torch.testing.assert_close(joined.variance, whole.variance, rtol=1e-13, atol=0)
