"""Find what keeps EdgeDistill from running on this machine, or from running well, and how to fix it.

`examine` runs every check: one file per subject, one function per check. Each reads below a ``root`` that stands for
"/", as the sensors do.
"""

from edgedistill.runtime.doctor.examination import Check, CheckResult, examine, machine_checks, palette_checks
from edgedistill.runtime.doctor.finding import Finding, State

__all__ = ["Check", "CheckResult", "Finding", "State", "examine", "machine_checks", "palette_checks"]
