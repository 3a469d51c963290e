r"""The problems of Moré, Garbow and Hillstrom (1981) as 40 instances.

The 35 functions (see ``mgh_functions``) at the standard starts, in float64. The small ones have
their own dimension; Watson comes with 6, 9 and 12 variables, the penalty functions with 4 and 10,
Chebyquad with 8 and 10, the extended Rosenbrock and Powell functions with 20, the others with 10
(the linear ones with 20 residuals).

The values of the minima were computed from these residuals by several least-squares solvers and
agree with the paper to the digits it prints. Two things to know: tables that print the start of
Brown and Dennis as (25, 5, -5, 1) have lost a sign, and the paper's value for Chebyquad with ten
variables, 6.50395e-3, belongs to a local minimum.
"""

import torch
from torch import Tensor

from benchmarks import mgh_functions as mgh
from benchmarks.problem import (
    Count,
    Objective,
    Problem,
    count_to_solve,
    perturbed,
    rotated,
    solved,
    tolerance,
)

__all__ = [
    "INSTANCES",
    "Count",
    "Objective",
    "Problem",
    "count_to_solve",
    "perturbed",
    "rotated",
    "solved",
    "tolerance",
]


def _instances() -> tuple[Problem, ...]:
    def vector(*values: float) -> Tensor:
        return torch.tensor(values, dtype=torch.float64)

    i = torch.arange(1, 11, dtype=torch.float64)
    ones = torch.ones(10, dtype=torch.float64)
    t = i / 11
    wave = t * (t - 1)
    return (
        Problem("rosenbrock", mgh.rosenbrock, vector(-1.2, 1), minimizer=ones[:2]),
        Problem(
            "freudenstein_roth",
            mgh.freudenstein_roth,
            vector(0.5, -2),
            0.0,
            (48.98425367924001,),
            vector(5, 4),
            "the local minimum attracts most methods; it lies at (11.4128, -0.896805)",
        ),
        Problem(
            "powell_badly_scaled",
            mgh.powell_badly_scaled,
            vector(0, 1),
            note="minimiser (1.09816e-5, 9.10615); the tolerance accepts flat points far from it",
        ),
        Problem(
            "brown_badly_scaled",
            mgh.brown_badly_scaled,
            vector(1, 1),
            minimizer=vector(1e6, 2e-6),
        ),
        Problem("beale", mgh.beale, vector(1, 1), minimizer=vector(3, 0.5)),
        Problem("jennrich_sampson", mgh.jennrich_sampson, vector(0.3, 0.4), 124.36218235561489),
        Problem(
            "helical_valley",
            mgh.helical_valley,
            vector(-1, 0, 0),
            minimizer=vector(1, 0, 0),
        ),
        Problem(
            "bard",
            mgh.bard,
            vector(1, 1, 1),
            0.008214877306578975,
            (17.428693333333333,),
            note="the second minimum is the variance about a constant, at (0.8407, -inf, -inf)",
        ),
        Problem("gaussian", mgh.gaussian, vector(0.4, 1, 0), 1.127932769618565e-08),
        Problem("meyer", mgh.meyer, vector(0.02, 4000, 250), 87.94585517052),
        Problem("gulf", mgh.gulf, vector(5, 2.5, 0.15), minimizer=vector(50, 25, 1.5)),
        Problem(
            "box",
            mgh.box,
            vector(0, 10, 20),
            minimizer=vector(1, 10, 1),
            note="also zero at (10, 1, -1) and on the line (a, a, 0)",
        ),
        Problem(
            "powell_singular", mgh.powell_singular, vector(3, -1, 0, 1), minimizer=0 * ones[:4]
        ),
        Problem("wood", mgh.wood, vector(-3, -1, -3, -1), minimizer=ones[:4]),
        Problem(
            "kowalik_osborne",
            mgh.kowalik_osborne,
            vector(0.25, 0.39, 0.415, 0.39),
            0.000307505603849237,
            (0.0010273430486954576,),
            note="the second minimum is a limit at (inf, -14.0759, -inf, -inf)",
        ),
        Problem("brown_dennis", mgh.brown_dennis, vector(25, 5, -5, -1), 85822.20162635628),
        Problem("osborne_1", mgh.osborne_1, vector(0.5, 1.5, -1, 0.01, 0.02), 5.4648946974828e-05),
        Problem(
            "biggs_exp6",
            mgh.biggs_exp6,
            vector(1, 2, 1, 1, 1, 1),
            0.0,
            (0.005655649925499929,),
            vector(1, 10, 1, 5, 4, 3),
            "the listed minimum is one only for x1 = x5, x3 = x6: in six variables a saddle",
        ),
        Problem(
            "osborne_2",
            mgh.osborne_2,
            vector(1.3, 0.65, 0.65, 0.7, 0.6, 3, 5, 7, 2, 4.5, 5.5),
            0.0401377362935477,
        ),
        Problem("watson_6", mgh.watson(6), 0 * ones[:6], 0.0022876700535523),
        Problem("watson_9", mgh.watson(9), 0 * ones[:9], 1.39976013809e-06),
        Problem("watson_12", mgh.watson(12), vector(*12 * [0.0]), 4.72238110e-10),
        Problem(
            "extended_rosenbrock",
            mgh.extended_rosenbrock,
            vector(-1.2, 1).repeat(10),
            minimizer=ones.repeat(2),
        ),
        Problem(
            "extended_powell_singular",
            mgh.powell_singular,
            vector(3, -1, 0, 1).repeat(5),
            minimizer=0 * ones.repeat(2),
        ),
        Problem("penalty_1_4", mgh.penalty_1, i[:4], 2.2499775008999e-05),
        Problem("penalty_1_10", mgh.penalty_1, i, 7.0876514670904e-05),
        Problem("penalty_2_4", mgh.penalty_2(4), 0.5 * ones[:4], 9.3762930073554e-06),
        Problem("penalty_2_10", mgh.penalty_2(10), 0.5 * ones, 0.00029366053745674594),
        Problem("variably_dimensioned", mgh.variably_dimensioned(10), 1 - i / 10, minimizer=ones),
        Problem(
            "trigonometric",
            mgh.trigonometric(10),
            ones / 10,
            0.0,
            (2.795056121878e-05,),
            0 * ones,
            "zero at other points too",
        ),
        Problem(
            "brown_almost_linear",
            mgh.brown_almost_linear,
            ones / 2,
            0.0,
            (1.0,),
            ones,
            "zero also at (0.97943, ..., 1.20570); one, degenerate, at (0, ..., 0, 11)",
        ),
        Problem("discrete_boundary_value", mgh.discrete_boundary_value(10), wave),
        Problem("discrete_integral_equation", mgh.discrete_integral_equation(10), wave),
        Problem("broyden_tridiagonal", mgh.broyden_tridiagonal(10), -ones),
        Problem("broyden_banded", mgh.broyden_banded(10), -ones),
        Problem("linear_full_rank", mgh.linear_full_rank(10, 20), ones, 10.0, minimizer=-ones),
        Problem(
            "linear_rank_1",
            mgh.linear_rank_1(10, 20),
            ones,
            190 / 41,
            minimizer=3 / 41 / 55 * ones,
            note="every x with sum of i x_i equal to 3/41 is a minimiser",
        ),
        Problem(
            "linear_rank_1_zeros",
            mgh.linear_rank_1_zeros(10, 20),
            ones,
            227 / 37,
            minimizer=3 / 37 / 44 * ones,
            note="every x with the inner sum of i x_i equal to 3/37 is a minimiser",
        ),
        Problem("chebyquad_8", mgh.chebyquad(8), i[:8] / 9, 0.0035168737256779),
        Problem(
            "chebyquad_10",
            mgh.chebyquad(10),
            t,
            0.0047727136963753,
            (0.0065039548008823,),
            note="the paper lists the local minimum, which the symmetry of the start leads to",
        ),
    )


INSTANCES: tuple[Problem, ...] = _instances()
