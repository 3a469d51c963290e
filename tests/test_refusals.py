"""What the execution of notebooks refuses, before anything runs, in one line."""

import execute
import pytest
import torch


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["absent"], ["no such notebook", "absent"]),
        (["--seed", "-1"], ["--seed", "whole number", "-1"]),
        (["--seed", "1.5"], ["--seed", "whole number", "1.5"]),
        (["--seed", str(2**32)], ["--seed", "at most"]),
        (["--workers", "0"], ["--workers", "at least 1", "0"]),
        (["--workers", "two"], ["--workers", "whole number", "two"]),
        (["--scale", "tiny"], ["--scale", "tiny", "smoke", "book", "full"]),
        (["--device", "nonsense"], ["nonsense", "device"]),
        pytest.param(
            ["--device", "cuda"], ["cuda"],
            marks=pytest.mark.skipif(torch.cuda.is_available(), reason="there is one"),
        ),
    ],
)  # fmt: skip
def test_wrong_options_are_refused_in_one_line(
    options: list[str], words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        execute.main(options)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert [word for word in words if word not in err] == []
