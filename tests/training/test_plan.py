"""A plan holds plain numbers in their ranges."""

import math

import numpy as np
import pytest

from dlopt.training.plan import Plan, whole


def test_whole_numbers_of_numpy_become_those_of_python():
    plan = Plan(np.int64(3), batch_size=np.int32(5), evaluate_every=np.uint8(2))
    assert plan == Plan(3, batch_size=5, evaluate_every=2)
    assert {type(n) for n in (plan.epochs, plan.batch_size, plan.evaluate_every)} == {int}
    assert [type(whole("seed", s)) for s in np.arange(2)] == [int, int]


def test_the_factor_is_the_schedule_s():
    assert Plan(1).factor(0.7) == 1.0
    assert Plan(1, schedule=lambda share: 1 - share).factor(0.75) == 0.25


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "epochs must be >= 1, got 0"),
        ({"epochs": 2.5}, r"epochs must be a whole number, got 2\.5"),
        ({"epochs": None}, "epochs must be a whole number, got None"),
        ({"epochs": True}, "epochs must be a whole number, got True"),
        ({"evaluate_every": np.True_}, "evaluate_every must be a whole number, got .*True"),
        ({"batch_size": -1}, "batch_size must be >= 1, got -1"),
        ({"evaluate_every": 0}, "evaluate_every must be >= 1, got 0"),
        ({"clip": 0.0}, r"clip must be > 0 and finite, got 0\.0"),
        ({"clip": math.nan}, "clip must be > 0 and finite, got nan"),
        ({"max_seconds": -1}, "max_seconds must be > 0 and finite, got -1"),
    ],
)
def test_settings_out_of_range_are_named(settings, message):
    with pytest.raises(ValueError, match=message):
        Plan(**{"epochs": 1} | settings)
