"""A curriculum begins easy, draws what its schedule says, and is the same as weights."""

import itertools
import math

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from dlopt.curriculum import (
    CurrentLevel,
    CurriculumSampler,
    EachLevel,
    Growing,
    LinearPacing,
    Mixture,
    NoCurriculum,
    Schedule,
    _draw,
)

LEVELS = torch.tensor([5.0, 1, 2, 1, 3, 4, 2, 5, 1, 3])
PACING = LinearPacing(0.2, until=0.8)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def schedules() -> dict[str, Schedule]:
    shuffled = torch.rand(len(LEVELS), generator=seeded())
    return {
        "none": NoCurriculum(LEVELS),
        "growing": Growing(LEVELS, PACING),
        "reversed": Growing(-LEVELS, PACING),
        "random order": Growing(shuffled, PACING),
        "without the hardest": Growing(LEVELS, LinearPacing(0.2, until=0.8, last=0.6)),
        "naive": CurrentLevel(LEVELS, PACING),
        "mix": EachLevel(LEVELS),
        "combined": Mixture(EachLevel(LEVELS), CurrentLevel(LEVELS, PACING), lambda share: 0.8),
        "stochastic": Mixture(Growing(LEVELS, lambda share: 0.3), NoCurriculum(LEVELS), PACING),
    }


@pytest.mark.parametrize("name", schedules())
def test_probabilities_add_up_to_1_at_any_time(name):
    schedule = schedules()[name]
    for share in (0.0, 0.1, 0.5, 0.799, 0.8, 1.0):
        p = schedule.probabilities(share)
        assert p.shape == LEVELS.shape and p.dtype == torch.float64 and p.min() >= 0
        assert math.isclose(float(p.sum()), 1, rel_tol=1e-12)
        torch.testing.assert_close(schedule.weights(share), 10 * p)


@pytest.mark.parametrize("name", ["growing", "naive"])
@pytest.mark.parametrize("workers", [0, 1])
def test_the_first_batch_is_easy(name, workers):
    """A ``max`` where a ``min`` is meant lets everything in from the first step on."""
    sampler = CurriculumSampler(schedules()[name], 100, generator=seeded())
    data = TensorDataset(LEVELS)
    loader = DataLoader(data, batch_size=5, sampler=sampler, num_workers=workers)
    (first,) = next(iter(loader))
    assert first.max() == LEVELS.min()


def test_growing_lets_in_the_easiest_first_and_all_at_last():
    schedule = schedules()["growing"]
    for share in (0.0, 0.2, 0.4, 0.6, 0.8):
        count = PACING(share) * 10
        let_in = schedule.probabilities(share) > 0
        assert let_in.sum() >= count - 1e-9
        assert LEVELS[let_in].max() < LEVELS[~let_in].min() if not let_in.all() else share >= 0.4
        # Not more than needed: without the hardest level that is in, there were too few.
        assert (let_in & (LEVELS[let_in].max() > LEVELS)).sum() < count
    assert torch.equal(schedule.probabilities(1.0), NoCurriculum(LEVELS).probabilities(1.0))


def test_reversed_begins_with_the_hardest_and_a_cap_keeps_them_out():
    reversed_, capped = schedules()["reversed"], schedules()["without the hardest"]
    assert set(LEVELS[reversed_.probabilities(0.0) > 0].tolist()) == {5.0}
    assert LEVELS[capped.probabilities(1.0) > 0].max() == 3


def test_the_naive_one_leaves_easy_levels_behind():
    schedule = schedules()["naive"]
    seen = [set(LEVELS[schedule.probabilities(s / 50) > 0].tolist()) for s in range(51)]
    assert all(len(levels) == 1 for levels in seen)
    order = [levels for levels, _ in itertools.groupby(max(s) for s in seen)]
    assert order == [1, 2, 3, 4, 5]


def test_a_mixture_always_has_both():
    p = schedules()["combined"].probabilities(1.0)
    each, current = EachLevel(LEVELS).probabilities(1.0), schedules()["naive"].probabilities(1.0)
    torch.testing.assert_close(p, 0.2 * each + 0.8 * current)
    stochastic = schedules()["stochastic"]
    hard = [float(stochastic.probabilities(s)[LEVELS == 5].sum()) for s in (0.0, 0.4, 0.8)]
    assert 0 < hard[0] < hard[1] < hard[2]
    torch.testing.assert_close(hard[2], 0.2)


@pytest.mark.parametrize("name", schedules())
def test_it_draws_what_the_schedule_says(name):
    schedule = schedules()[name]
    frozen = Mixture(schedule, schedule, lambda share: 0.0)
    frozen.probabilities = lambda share: schedule.probabilities(0.3)  # type: ignore[method-assign]
    draws = 20_000
    drawn = torch.tensor(list(CurriculumSampler(frozen, draws, epoch=draws, generator=seeded())))
    counts, p = torch.bincount(drawn, minlength=10), schedule.probabilities(0.3)
    assert (counts[p == 0] == 0).all()
    error = (counts - draws * p) / (draws * p * (1 - p)).sqrt().clamp(min=1)
    assert error.abs().max() < 4


def test_what_has_no_probability_is_never_drawn_not_even_at_the_edges(monkeypatch):
    p = torch.tensor([0.0, 0.5, 0.0, 0.5, 0.0], dtype=torch.float64)
    for number, expected in ((0.0, 1), (0.5, 3), (1.0, 3)):
        monkeypatch.setattr(torch, "rand", lambda *_, v=number, **__: torch.full((2,), v).double())
        assert _draw(p, 2, None) == [expected, expected]


def test_drawn_or_weighted_the_mean_gradient_is_the_same():
    """The two forms of a curriculum: equal in expectation, exactly; not in variance."""
    gradients = torch.randn(10, 3, generator=seeded(), dtype=torch.float64)
    for name, schedule in schedules().items():
        for share in (0.0, 0.5, 1.0):
            drawn = schedule.probabilities(share) @ gradients
            weighted = (schedule.weights(share)[:, None] * gradients).mean(0)
            torch.testing.assert_close(drawn, weighted, msg=name)


def test_it_goes_on_over_epochs_and_loaders():
    whole = CurriculumSampler(schedules()["growing"], 60, epoch=60, generator=seeded())
    parts = CurriculumSampler(schedules()["growing"], 60, epoch=20, generator=seeded(), refresh=4)
    whole._refresh = 4
    drawn = []
    for _ in range(3):  # a new loader each epoch
        data = TensorDataset(torch.arange(10))
        loader = DataLoader(data, batch_size=4, sampler=parts)
        drawn += [int(v) for (batch,) in loader for v in batch]
    assert drawn == list(whole) and parts.share == 1.0
    assert len(parts) == 20


def test_it_is_resumed_where_it_was():
    run = CurriculumSampler(schedules()["growing"], 60, epoch=20, generator=seeded())
    list(run)
    resumed = CurriculumSampler(schedules()["growing"], 60, epoch=20, generator=seeded(1))
    resumed.load_state_dict(run.state_dict())
    assert resumed.share == run.share == pytest.approx(1 / 3)
    resumed.generator.set_state(run.generator.get_state())
    assert list(resumed) == list(run)
    other = CurriculumSampler(schedules()["growing"], 61)
    with pytest.raises(ValueError, match="draws must be 61 as here, got 60"):
        other.load_state_dict(run.state_dict())
    assert other.drawn == 0


def test_an_epoch_that_is_left_early_counts_what_was_drawn():
    sampler = CurriculumSampler(NoCurriculum(LEVELS), 100, generator=seeded())
    list(itertools.islice(sampler, 7))
    assert sampler.drawn == 7


def test_a_loader_that_would_shuffle_over_it_is_refused():
    sampler = CurriculumSampler(NoCurriculum(LEVELS), 10)
    with pytest.raises(ValueError, match="mutually exclusive"):
        DataLoader(TensorDataset(LEVELS), sampler=sampler, shuffle=True)


def test_after_the_last_draw_it_stays_as_at_the_end():
    sampler = CurriculumSampler(schedules()["without the hardest"], 5, generator=seeded())
    drawn = torch.tensor([i for _ in range(20) for i in sampler])
    assert sampler.share == 1.0 and LEVELS[drawn[16:]].max() == 3


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NoCurriculum(torch.ones(2, 2)), r"must be 1-D, got shape \(2, 2\)"),
        (lambda: NoCurriculum(torch.ones(0)), r"got shape \(0,\)"),
        (lambda: NoCurriculum(torch.tensor([1.0, math.nan])), "got a NaN"),
        (lambda: CurriculumSampler(NoCurriculum(LEVELS), 0), "draws must be .* got 0"),
        (lambda: CurriculumSampler(NoCurriculum(LEVELS), 9, epoch=1.5), "epoch must be .* got 1.5"),
        (lambda: CurriculumSampler(NoCurriculum(LEVELS), 9, refresh=0), "refresh must be .* got 0"),
        (lambda: Mixture(NoCurriculum(LEVELS), EachLevel(LEVELS[:3]), PACING), "got 10 and 3"),
        (lambda: Growing(LEVELS, lambda s: 1.5).probabilities(0.5), "got 1.5 at 0.5"),
        (lambda: Growing(LEVELS, PACING).probabilities(-1.0), "got -1"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
