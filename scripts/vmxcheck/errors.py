# SPDX-License-Identifier: BSD-2-Clause
"""The two ways in which a run does not take place: both end the program with a status of their own."""


class Problem(Exception):
    """Wrong usage, or an environment that cannot do what was asked (exit status 2)."""

    status = 2


class NothingToTest(Problem):
    """What was asked for is empty (exit status 3): silence must never look green."""

    status = 3
