"""What keeps EdgeDistill from running on this machine, or from running well, and how to mend it.

`examine` makes every check; one file a subject, one function a check. Each reads below a ``root`` that stands for "/",
as the sensors do.
"""

from edgedistill.runtime.doctor.examination import Check, CheckResult, examine, machine_checks, palette_checks
from edgedistill.runtime.doctor.finding import Finding, State

__all__ = ["Check", "CheckResult", "Finding", "State", "examine", "machine_checks", "palette_checks"]
