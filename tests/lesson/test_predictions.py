"""Questions before an experiment: what is displayed, what is refused."""

from typing import Any

import pytest
from bs4 import BeautifulSoup
from IPython.core.formatters import DisplayFormatter

from dlopt.lesson.predictions import predict

OPTIONS = {"a < b": "No: $a > b$.", "a = b": "Yes.", "a > b": "No."}


def shown(*arguments: Any, **keywords: Any) -> BeautifulSoup:
    data, _ = DisplayFormatter().format(predict(*arguments, **keywords))
    assert set(data) == {"text/plain", "text/html"}
    return BeautifulSoup(data["text/html"], "html.parser")


def test_a_choice_opens_one_answer_at_a_time() -> None:
    page = shown("Which?", OPTIONS)
    assert page.fieldset.legend.text == "Predict: Which?"
    assert [s.text for s in page.find_all("summary")] == list(OPTIONS)
    answers = page.find_all("details")
    assert len({details["name"] for details in answers}) == 1
    assert [details.has_attr("open") for details in answers] == [False, False, False]


def test_formulas_and_emphasis_are_marked_up() -> None:
    meant = {**OPTIONS, "a": "So *much* that $2*3*4 < b_1$ & more."}
    answer = shown("Which?", meant).find_all("details")[-1].p
    assert answer.text == r"So much that \(2*3*4 < b_1\) & more."
    assert answer.em.text == "much"


def test_two_questions_do_not_close_each_other() -> None:
    names = {shown(question, OPTIONS).details["name"] for question in ("This?", "That?")}
    assert len(names) == 2


def test_a_number_stands_above_what_it_is_compared_with() -> None:
    page = shown("How many?", answer="Three.", unit="steps")
    assert "steps" in page.label.text
    assert page.label.input["type"] == "number"
    assert [node.text for node in page.details.children] == ["Compare", "Three."]


@pytest.mark.parametrize(
    ("arguments", "keywords", "message"),
    [
        (("",), {"options": OPTIONS}, "question must be a non-empty string"),
        (("Which?",), {}, "options or answer must be given"),
        (("Which?", OPTIONS), {"answer": "3"}, "options or answer must be given"),
        (("Which?", {"yes": "No.", "no": "Yes."}), {}, "at least three, got \\['yes', 'no'\\]"),
        (("Which?", {**OPTIONS, "c": " "}), {}, "the meaning of an option must be a non-empty"),
        (("How many?",), {"answer": "3"}, "unit must be a non-empty string"),
    ],
)
def test_refused(arguments: tuple[Any, ...], keywords: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        predict(*arguments, **keywords)
