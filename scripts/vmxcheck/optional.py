# SPDX-License-Identifier: BSD-2-Clause
"""Libraries that only the reports need. The runner starts with `python -S`; here the site-packages come back."""

from __future__ import annotations

import importlib
import sys
from types import ModuleType

from .errors import Problem


def need(module: str, package: str, what: str) -> ModuleType:
    """Import it; Problem with the Debian package if it is not there. `what` needs it, for people."""
    if sys.flags.no_site and "site" not in sys.modules:
        import site  # start-up time: the reports alone need it

        site.main()
    try:
        return importlib.import_module(module)
    except ImportError:
        raise Problem("%s needs %s: install the Debian package %s (or run ./configure --install-deps)"
                      % (what, module, package)) from None


def check(junit: bool, html: bool) -> None:
    """Before a run: what its reports will need is there."""
    if junit:
        need("junitparser", "python3-junitparser", "--junit")
    if html:
        need("jinja2", "python3-jinja2", "--html")
