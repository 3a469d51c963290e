"""A share that grows evenly, and then stays."""

import itertools

import pytest

from dlopt.pacing import LinearPacing, paced


def test_it_grows_evenly_and_then_stays():
    pacing = LinearPacing(0.2, until=0.5, last=0.6)
    shares = [pacing(t / 10) for t in range(11)]
    assert shares[0] == 0.2 and shares[5:] == pytest.approx([0.6] * 6)
    steps = [b - a for a, b in itertools.pairwise(shares[:6])]
    assert steps == pytest.approx([0.08] * 5)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"first": 0.0}, r"first must be in \(0, 1\], got 0"),
        ({"until": 1.5}, "until must be .* got 1.5"),
        ({"last": 2.0}, "last must be .* got 2"),
        ({"first": 0.5, "last": 0.4}, "at least first = 0.5, got 0.4"),
        ({"first": float("nan")}, "got nan"),
    ],
)
def test_bad_settings_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        LinearPacing(**settings)


def test_a_pacing_says_shares_of_shares():
    assert paced(lambda share: share**2, 0.5) == 0.25
    with pytest.raises(ValueError, match=r"share must be in \[0, 1\], got 1.5"):
        paced(lambda share: share, 1.5)
    with pytest.raises(ValueError, match=r"a pacing must return a share .* got 2.0 at 0.5"):
        paced(lambda share: 2.0, 0.5)
