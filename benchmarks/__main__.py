"""Every comparison: ``python -m benchmarks``, or parts of it: ``python -m benchmarks mgh larger``.

Results are printed and stored in ``benchmarks/results``; the book's page is made from there.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings

import torch

from benchmarks import (
    averaging,
    batch_norm,
    hessian,
    known_answers,
    larger,
    mgh,
    nist,
    overhead,
    replicas,
    results,
    single,
    sparse_coding,
)
from benchmarks.solvers import SOLVERS

PARTS = {
    part.PART: part
    for part in (
        mgh,
        larger,
        overhead,
        hessian,
        replicas,
        batch_norm,
        averaging,
        sparse_coding,
        known_answers,
        nist,
        single,
    )
}


def main() -> None:
    """Run the parts that were asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], metavar="part",
                        help=f"{', '.join(PARTS)}; default: all of them")  # fmt: skip
    parser.add_argument("--only", default="", metavar="TEXT", help="count only with solvers whose "
                        'name contains this, such as "dlopt", and keep the others')  # fmt: skip
    parser.add_argument(
        "--missing",
        action="store_true",
        help="count only with solvers without stored results: go on after a stop",
    )
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, metavar="N",
                        help="processes that count; times are taken by one alone")  # fmt: skip
    parser.add_argument("--variant", action="append", choices=known_answers.VARIANTS,
                        help="of the runs of known_answers, again and again; default: standard",
                        metavar=f"{{{','.join(known_answers.VARIANTS)}}}")  # fmt: skip
    given = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # the other libraries' remarks about rounding
    for part in given.parts or PARTS:
        print(f"\n--- {part} " + "-" * (90 - len(part)), flush=True)
        start = time.perf_counter()
        stored = results.load(part).get("solvers", {}) if given.missing else {}
        names = [name for name in SOLVERS if given.only in name and name not in stored]
        if part == known_answers.PART:
            ours = [name for name in known_answers.METHODS if given.only in name]
            known_answers.measure(ours, given.workers, given.variant or ("standard",))
        else:
            PARTS[part].measure(names, given.workers)
        print(f"{time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
