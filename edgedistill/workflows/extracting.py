"""Extract one subnet, as a file or checkpoint that needs nothing of EdgeDistill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, get_args

from edgedistill.errors import InputError
from edgedistill.library_errors import disk_errors
from edgedistill.palette import Precision
from edgedistill.places import install, lock, recover, scratch_folder
from edgedistill.workflows.capabilities import capabilities_of
from edgedistill.workflows.progress import ProgressCallback, silent, work
from edgedistill.workflows.supernets import find_subnet, load_trained, plain_name
from edgedistill.workflows.training_side import needs_training_side

if TYPE_CHECKING:
    from edgedistill.architecture import Subnet
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["ExtractFormat", "extract"]

ExtractFormat = Literal["onnx", "hf"]


@needs_training_side
def extract(
    supernet: str | Path,
    subnet: str,
    *,
    output: str | Path,
    format: ExtractFormat = "onnx",  # noqa: A002 (the command's option)
    progress: ProgressCallback = silent,
) -> Path:
    """Write one subnet on its own, for tools that know nothing of palettes; return its file or folder.

    Args:
        supernet: the folder that `train` wrote.
        subnet: its name, as `search` and `export` give it; with ``-int8`` at the end in int8.
        output: a new file for ``onnx``, a new folder for ``hf``.
        format: one ONNX file, or a Hugging Face checkpoint that transformers loads.
        progress: receives each `ProgressEvent`, in this thread.

    Raises:
        InputError: the subnet or format is unknown, ``output`` exists, or another process writes there.
        CheckpointError: the supernet is damaged, or not trained to its end.
        ExportError: the graph could not be made, or disagrees with torch.
    """
    if format not in get_args(ExtractFormat):
        raise InputError(f"format: got {format!r}, expected one of {', '.join(get_args(ExtractFormat))}")
    target = Path(output)
    with lock(target):
        recover(target)
        if target.exists():
            raise InputError(f"{target} exists; give a new name")
        trained = load_trained(Path(supernet))
        name = plain_name(subnet)
        precision = cast(Precision, subnet.removeprefix(name).removeprefix("-") or "fp32")
        _write(trained, find_subnet(trained, name), precision, target, format, progress)
    return target


def _write(
    trained: Supernet,
    config: Subnet,
    precision: Precision,
    output: Path,
    kind: ExtractFormat,
    progress: ProgressCallback,
) -> None:
    from edgedistill.exporters.hugging_face import write_hugging_face
    from edgedistill.exporters.standalone import write_onnx

    if kind == "onnx":
        if not capabilities_of(trained.model.arch).one_file:
            raise InputError("a decoder's subnet is written as a Hugging Face checkpoint: take --format hf")
        with work(progress, "exporting"):
            write_onnx(trained, config, output, precision)
    elif precision != "fp32":
        raise InputError(f"a Hugging Face checkpoint holds the weights in fp32; leave '-{precision}' away")
    else:
        with scratch_folder(output) as scratch, disk_errors(output):
            whole = scratch / "checkpoint"
            write_hugging_face(trained, config, whole)
            install(whole, output)
