"""A palette answers through onnxruntime's C++ API, with nothing of ours: the C++ example."""

from __future__ import annotations

import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import readme
import tiny_encoder
import tiny_palette
import tiny_supernet

from edgedistill.exporters import write_palette
from edgedistill.palette import Palette
from edgedistill.runtime.onnx import create_session

EXAMPLE = readme.ROOT / "examples" / "cpp" / "ask.cpp"
# The wheel has the library without headers. They come with this package, which is for another platform: they are the
# same on all, and may be older than the library. An archive of 150 MB, pinned, of which the headers alone are kept.
PACKAGE, VERSION = "com.github.asus4.onnxruntime", "0.4.9"
HEADERS = "package/Plugins/iOS~/onnxruntime.xcframework/ios-arm64/onnxruntime.framework/Headers"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++"),
]


@pytest.fixture(scope="module")
def headers(pytestconfig: pytest.Config) -> Path:
    """onnxruntime's headers, which pytest's cache keeps: the package around them is large."""
    assert pytestconfig.cache is not None
    kept = pytestconfig.cache.mkdir("onnxruntime-headers")
    headers = kept / VERSION
    if not headers.exists():
        with tempfile.TemporaryDirectory(dir=kept) as work:
            _fetch_headers(Path(work)).rename(headers)
    return headers


def _fetch_headers(work: Path) -> Path:
    if shutil.which("npm") is None:
        pytest.skip("needs npm, which brings onnxruntime's headers")
    pack = ["npm", "pack", f"{PACKAGE}@{VERSION}"]
    done = subprocess.run(pack, cwd=work, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        pytest.skip(f"npm cannot bring onnxruntime's headers: {done.stderr.splitlines()[0]}")
    headers = work / "headers"
    with tarfile.open(next(work.glob("*.tgz"))) as package:
        for member in package:
            folder, _, member.name = member.name.rpartition("/")
            if folder == HEADERS:
                package.extract(member, headers, filter="data")
    return headers


@pytest.fixture(scope="module")
def program(headers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example, built by its own comment's command against the library of Python's onnxruntime."""
    library = next((Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*"), None)
    if library is None:
        pytest.skip("Python's onnxruntime has no shared library of its own here")
    folder = tmp_path_factory.mktemp("cpp")
    shutil.copy(EXAMPLE, folder)
    (folder / "ort" / "lib").mkdir(parents=True)
    (folder / "ort" / "include").symlink_to(headers)
    for name in ("libonnxruntime.so", "libonnxruntime.so.1"):
        (folder / "ort" / "lib" / name).symlink_to(library)
    command = re.search(r"^//\s+(g\+\+ .*)$", EXAMPLE.read_text(encoding="utf-8"), re.MULTILINE)
    assert command
    build = ["bash", "-c", command[1]]
    done = subprocess.run(build, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "ask"


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_palette.write(tmp_path_factory.mktemp("tiny") / "palette")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Palette:
    folder = tmp_path_factory.mktemp("exported") / "palette"
    subnets, rows = list(tiny_encoder.SPACE)[:2], tiny_supernet.rows()
    return write_palette(tiny_supernet.supernet(), subnets, rows, folder, lambda _: None, precisions=("fp32", "int8"))


def _ask(program: Path, palette: Path, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    command = [str(program), *map(str, arguments)]
    return subprocess.run(command, cwd=palette, input=given, capture_output=True, text=True, timeout=60, check=False)


def _assert_as_in_python(done: subprocess.CompletedProcess[str], graph: Path, ids: list[int]) -> None:
    assert done.returncode == 0, done.stderr
    session = create_session(graph, threads=1)
    fill = {"input_ids": ids, "attention_mask": [1] * len(ids), "token_type_ids": [0] * len(ids)}
    feeds = {one.name: np.array([fill[one.name]], dtype=np.int64) for one in session.get_inputs()}
    (expected,) = session.run(None, feeds)
    answered = [float(line) for line in done.stdout.splitlines()]
    np.testing.assert_allclose(answered, expected.ravel(), rtol=1e-5, atol=1e-5)


def test_every_member_answers_as_in_python(program: Path, exported: Palette) -> None:
    assert "token_type_ids" in {one.name for one in exported.manifest.graph_inputs}
    assert {member.precision for member in exported.manifest.subnets} == {"fp32", "int8"}
    ids = [7, 31, 4, 49, 0, 12]
    for member in exported.manifest.subnets:
        done = _ask(program, exported.folder, member.graph, *ids)
        _assert_as_in_python(done, exported.folder / member.graph, ids)


def test_a_text_that_is_too_long_is_told_in_a_line(program: Path, exported: Palette) -> None:
    too_long = [1] * (tiny_encoder.ARCH.positions + 1)
    for member in exported.manifest.subnets:
        done = _ask(program, exported.folder, member.graph, *too_long)
        assert (done.returncode, done.stdout) == (1, "")
        assert len(done.stderr.splitlines()) == 1
        assert str(tiny_encoder.ARCH.positions) in done.stderr


@pytest.mark.parametrize("name", tiny_palette.WIDTHS)
def test_a_graph_without_token_types_answers_ids_from_standard_input(program: Path, tiny: Path, name: str) -> None:
    done = _ask(program, tiny, f"{name}.onnx", given="2 4 5\n3\n")
    _assert_as_in_python(done, tiny / f"{name}.onnx", [2, 4, 5, 3])


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "usage: ask GRAPH"),
        (["large.onnx"], 1, "no token ids"),
        (["large.onnx", "2", "lamp"], 1, "not a token id: lamp"),
        (["large.onnx", "2", "3.5"], 1, "not a token id: 3.5"),
        (["large.onnx", "-1"], 1, "not a token id: -1"),
        (["large.onnx", "9" * 20], 1, "not a token id: 999"),
        (["large.onnx", "2", "14"], 1, "idx=14 must be within"),
        (["none.onnx", "2"], 1, "File doesn't exist"),
        (["manifest.json", "2"], 1, "Protobuf parsing failed"),
    ],
)
def test_what_is_wrong_is_told_in_a_line(
    program: Path, tiny: Path, arguments: list[str], code: int, message: str
) -> None:
    done = _ask(program, tiny, *arguments)
    assert done.returncode == code
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
