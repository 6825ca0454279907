"""Try onnxruntime in a process of its own; ``python -m edgedistill.runtime.doctor.trial`` prints one JSON object."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any

from edgedistill.errors import LoadError, OnnxruntimeMissing

__all__ = ["GRAPH", "trial"]

# The products of x [2, 4] with a matrix of ones [4, 4], in fp32 and, like subnets in int8, in uint8 with a zero point.
# The tests build the same graph with the package onnx, which a board lacks.
GRAPH = base64.b85decode(
    "2nRZ~0tyrg0eA`oZ*FCC5&?N422EjfO?7MvCkg>^3IlI$WeNm(WpZx{1#oX^Zgdg>dLj)?VRTJ(Y)Ni(WoKn_5(RW}X<=+CP6z}D"
    "1P}otKmY)MKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKL7xLKSBg=Ze?>SEeHe%"
    "1P}r$Ab|ma0f7O50f7O50f7O50f7O50f7O50f7O50f7O50YU?BZe=P95CSRz073+MWpZyS4G;n<0)PQR1#oX^Zgg4`3ITW$4hjqi"
    "0TKub0tf;M0tf_J6AA%w5)KLs2m%ra3IYfM3IYfOViO7hc@ho^3<v=d2nqrS0tx~M1Y#2k0eTV+3JeGa5(o+c2m%TM2n0d|3IGrd"
)
_X = [[0.0, 1.0, 2.0, 3.0], [4.0, 5.0, 6.0, 255.0]]
_PRODUCTS = [[6.0] * 4, [270.0] * 4]


def trial() -> dict[str, Any]:
    """Return version and providers, whether the module is ``missing``, and its ``fault``, if any."""
    from edgedistill.runtime.onnx import import_onnxruntime

    try:
        module = import_onnxruntime()
    except OnnxruntimeMissing as error:
        cause = error.__cause__
        if isinstance(cause, ModuleNotFoundError) and cause.name == "onnxruntime":
            return {"missing": True}
        return {"missing": False, "fault": f"it cannot be imported: {cause}"}
    return {
        "missing": False,
        "version": getattr(module, "__version__", "0"),
        "providers": module.get_available_providers(),
        "fault": _fault(),
    }


def _fault() -> str | None:
    """Return what is wrong with a session's answer, or None."""
    import numpy as np

    from edgedistill.runtime.onnx import create_session

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "trial.onnx"
        path.write_bytes(GRAPH)
        try:
            session = create_session(path, threads=1)
        except LoadError as error:
            return f"it opens no session: {error}"
        x = np.array(_X, np.float32)
        answers = session.run(["y", "z"], {"x": x, "q": x.astype(np.uint8)})
    if all(answer.tolist() == _PRODUCTS for answer in answers):
        return None
    return f"it computes wrongly: {' and '.join(str(answer.tolist()) for answer in answers)}, expected {_PRODUCTS}"


if __name__ == "__main__":
    print(json.dumps(trial()))  # noqa: T201
