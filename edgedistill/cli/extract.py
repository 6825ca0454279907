"""``edgedistill extract``: one subnet, as a file or checkpoint that needs nothing of ours."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from edgedistill.cli.common import AsJson, locking, reported
from edgedistill.cli.output import console, print_json
from edgedistill.errors import InputError
from edgedistill.library_errors import disk_errors
from edgedistill.manifest import Precision
from edgedistill.places import install, recover, scratch_folder

if TYPE_CHECKING:
    from edgedistill.subnet import SubnetConfig
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["extract", "named_subnet"]


@reported
@locking(lambda output, **_: output)
def extract(
    supernet: Annotated[Path, typer.Argument(help="The folder that 'edgedistill train' wrote.")],
    subnet: Annotated[str, typer.Argument(help="Its name, as 'search' and 'export' show it; an int8 one ends so.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="A new file for onnx, a new folder for hf.")],
    kind: Annotated[
        Literal["onnx", "hf"],
        typer.Option("--format", help="One ONNX file; or a Hugging Face checkpoint, which transformers loads."),
    ] = "onnx",
    as_json: AsJson = False,
) -> None:
    """Write one subnet on its own, for tools that know nothing of palettes.

    Example: edgedistill extract supernet l4-d384-h12-f768 -o small.onnx

    Example: edgedistill extract writer-supernet l20-d576-h9-f1024 --format hf -o small-writer
    """
    from edgedistill.cli.export import load_trained, plain_name

    recover(output)
    if output.exists():
        raise InputError(f"{output} exists; give a new name")
    trained = load_trained(supernet)
    name = plain_name(subnet)
    precision = cast(Precision, subnet.removeprefix(name).removeprefix("-") or "fp32")
    _write(trained, named_subnet(trained, name), precision, output, kind)
    if as_json:
        print_json({"output": str(output), "subnet": subnet, "format": kind})
    else:
        console.print(f"{output}: {subnet}")


def _write(
    trained: Supernet, config: SubnetConfig, precision: Precision, output: Path, kind: Literal["onnx", "hf"]
) -> None:
    from edgedistill.exporters.hugging_face import write_hugging_face
    from edgedistill.exporters.standalone import write_onnx

    if kind == "onnx":
        if trained.info.generation is not None:
            raise InputError("a decoder's subnet is written as a Hugging Face checkpoint: take --format hf")
        with console.busy("exporting"):
            write_onnx(trained, config, output, precision)
    elif precision != "fp32":
        raise InputError(f"a Hugging Face checkpoint holds the weights in fp32; leave '-{precision}' away")
    else:
        with scratch_folder(output) as scratch, disk_errors(output):
            whole = scratch / "checkpoint"
            write_hugging_face(trained, config, whole)
            install(whole, output)


def named_subnet(trained: Supernet, name: str) -> SubnetConfig:
    """The subnet of the space that has this name.

    Raises:
        InputError: none has.
    """
    found = next((config for config in trained.space if config.name == name), None)
    if found is None:
        examples = ", ".join([trained.space.maxnet.name, trained.space.minnet.name])
        raise InputError(
            f"no subnet {name!r} in this space of {len(trained.space)}; there are, for example, {examples}"
        )
    return found
