"""The self-rewarding loop: each module is a stage, iterate.py is the loop on one screen."""

import engines as _quiet_first  # noqa: F401 - before trl and datasets are imported
