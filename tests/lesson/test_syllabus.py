"""The statements: how many there are, in which order, and what is said of them."""

import pytest

from dlopt.lesson.syllabus import OURS, SYLLABUS_IDS, TEXTBOOK_ONLY, is_beyond, place


def test_it_has_81_statements() -> None:
    assert len(SYLLABUS_IDS) == len(set(SYLLABUS_IDS)) == 81
    last = {"A1", "N7", "C8", "B5", "L3", "BN16", "CD5", "PA4", "SP11", "D9", "K9", "U3"}
    assert last <= set(SYLLABUS_IDS)
    assert not {"A2", "N8", "BN17", "N0"} & set(SYLLABUS_IDS)


def test_marks_belong_to_statements() -> None:
    assert set(OURS) | set(TEXTBOOK_ONLY) <= set(SYLLABUS_IDS)
    assert all(OURS.values())


def test_places_follow_the_syllabus_and_not_the_alphabet() -> None:
    assert sorted(["X10", "X2", "U3", "BN10", "BN9", "B5", "C1", "A1"], key=place) == [
        "A1", "C1", "B5", "BN9", "BN10", "U3", "X2", "X10",
    ]  # fmt: skip


@pytest.mark.parametrize("id", ["N8", "n1", "", "X", "X01", "X1a", "N1 "])
def test_an_unknown_id_is_refused(id: str) -> None:
    assert not is_beyond(id)
    with pytest.raises(ValueError, match=r"id must be one of the syllabus .*got '" + id):
        place(id)
