"""Check onnxruntime, and the processor's support of int8."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

from edgedistill.runtime.device import cpu_features
from edgedistill.runtime.doctor.finding import Finding
from edgedistill.runtime.doctor.system_checks import version_of
from edgedistill.runtime.onnx import PROVIDER, is_jetson

__all__ = ["int8", "onnxruntime"]

_TRIAL = "edgedistill.runtime.doctor.trial"
_INSTALL = 'pip install "edgedistill[cpu]"'
_OWN_ENVIRONMENT = f"python3 -m venv ~/edgedistill && ~/edgedistill/bin/{_INSTALL}"

# By the kernel's names, the best first.
_DOT_PRODUCTS = {
    "i8mm": "matrix products of int8",
    "asimddp": "dot products of int8",
    "avx512_vnni": "dot products of int8",
    "avx_vnni": "dot products of int8",
}


def onnxruntime(root: Path) -> Finding:
    """Check that it is installed, recent enough, and computes correctly, in a process of its own."""
    # Wheels that are built for newer processors kill the process (1.21.0 did on a Cortex-A72).
    done = subprocess.run([sys.executable, "-m", _TRIAL], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode == -signal.SIGILL:
        fix = 'pip install --upgrade --force-reinstall "onnxruntime!=1.21.0"'
        return Finding("problem", "its process was killed by SIGILL: it is not built for this processor", fix)
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return Finding("problem", f"its process was killed by {name}; is there enough memory?", _again())
    if done.returncode > 0:
        last = (done.stderr.strip().splitlines() or ["it says nothing"])[-1]
        return Finding("problem", f"its trial ended with status {done.returncode}: {last}", _again())
    return _judge(json.loads(done.stdout.splitlines()[-1]), root)


def _judge(report: dict[str, Any], root: Path) -> Finding:
    """Return the finding of a trial's report."""
    if report["missing"]:
        return Finding("problem", "not installed", _OWN_ENVIRONMENT if is_jetson(root) else _INSTALL)
    if report["fault"]:
        return Finding("problem", report["fault"], _again())
    least = _least_version()
    summary = f"{report['version']}, {', '.join(report['providers'])}; a session computes rightly"
    if version_of(report["version"]) < version_of(least):
        fix = f'pip install --upgrade "onnxruntime>={least}"'
        return Finding("problem", f"{report['version']}, expected {least} or later", fix)
    if PROVIDER not in report["providers"]:
        return Finding("problem", f"{summary}; {PROVIDER}, which subnets run on, is not among them", _again())
    names = metadata.packages_distributions().get("onnxruntime", [])
    if len(names) > 1:
        fix = f"pip uninstall -y {' '.join(sorted(names))} && {_INSTALL}"
        return Finding("note", f"{summary}; but {' and '.join(sorted(names))} overwrite each other's files", fix)
    return Finding("ok", summary)


def _again() -> str:
    """Return the command that reinstalls the distribution that has the module."""
    names = metadata.packages_distributions().get("onnxruntime") or ["onnxruntime"]
    return f"pip install --force-reinstall {names[0]}"


def _least_version() -> str:
    """Return the lowest version that this package's metadata allow."""
    requirement = next(line for line in metadata.requires("edgedistill") or [] if line.startswith("onnxruntime"))
    return ".".join(map(str, version_of(requirement)))


def int8(root: Path) -> Finding:
    """Check the processor's instruction sets for subnets in int8."""
    features = cpu_features(root)
    shown = ", ".join(features) or "no instruction set that is known here"
    means = next((text for name, text in _DOT_PRODUCTS.items() if name in features), None)
    if means is not None:
        return Finding("ok", f"{shown}: {means}, so int8 should be the faster one; a profile tells")
    if "avx2" in features:
        return Finding(
            "ok", f"{shown}: no dot products of int8, yet int8 was the faster one on such a processor; a profile tells"
        )
    if "asimd" in features:
        return Finding(
            "note",
            f"{shown}: no dot products of int8, so int8 saves memory, but may be slower than fp32; a profile tells",
            "edgedistill profile PALETTE",
        )
    return Finding("note", f"{shown}: fp32 and int8 will both be slow")
