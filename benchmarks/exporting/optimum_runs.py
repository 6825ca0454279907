"""Export plain checkpoints by optimum-onnx, in its own environment, for export_time.py.

It does not validate, as our side does not. With --int8, onnxruntime then quantizes each file.

Usage: python optimum_runs.py [--int8] CHECKPOINT... Each gets a folder `onnx`. The last line is the seconds as JSON.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from onnxruntime.quantization import quantize_dynamic
from optimum.exporters.onnx import main_export


def main(*arguments: str) -> None:
    """Export one after the other; print how long each took, the imports apart."""
    seconds: dict[str, list[float]] = {"fp32": [], "int8": []}
    for checkpoint in arguments:
        if checkpoint == "--int8":
            continue
        folder = Path(checkpoint) / "onnx"
        started = time.perf_counter()
        main_export(checkpoint, folder, task="text-classification", do_validation=False)
        seconds["fp32"].append(time.perf_counter() - started)
        if "--int8" in arguments:
            started = time.perf_counter()
            quantize_dynamic(folder / "model.onnx", folder / "model-int8.onnx")
            seconds["int8"].append(time.perf_counter() - started)
    print(json.dumps(seconds))


if __name__ == "__main__":
    main(*sys.argv[1:])
