"""Replace a served palette's folder by seven ways of copying, again and again, under load.

Claim: in whatever way and order the files arrive, no request is lost or wrong, the process survives, and the new
palette serves once it is whole. The exit code is 1 if the claim does not hold.

One process serves, with threads that send one request after another. Each answer must equal a plain onnxruntime
session of that palette's subnet, to 1e-5. Two palettes alternate: a copy of PALETTE, and one without its first subnet,
whose files have the same names and other weights.

Needs: a palette; an SSH server's program for scp, which is left out without one
Takes: about 15 minutes
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import numpy as np
import onnx
import typer

from benchmarks.shared import output
from benchmarks.shared.arguments import PaletteFolder
from benchmarks.shared.shifted_weights import last_numbers, stored_tensors, with_one_added
from benchmarks.swapping.ssh_server import ssh_server
from edgedistill.exporters.export_folder import file_entry
from edgedistill.files import write_json
from edgedistill.palette import MANIFEST_NAME, Palette, Probes, SubnetEntry, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

TIMES = 20
CLIENTS = 2
SERVED_WITHIN_S = 120.0
SLOW_BYTES_PER_S = 50e6
REST_S = 1.2  # of a slow copy, between two files: longer than between two looks of the runtime
REPORT_EVERY_S = 0.1

Way = Callable[[Path, Path], object]
Feeds = dict[str, Any]


def other_palette(palette: Palette, folder: Path) -> Path:
    """Write the palette without its first subnet to another folder: files of the same names, and other answers."""
    shutil.copytree(palette.folder, folder, ignore=shutil.ignore_patterns("profiles"))
    subnets, inputs = palette.manifest.subnets[1:], palette.probes().inputs
    for weights in {entry.weights for entry in subnets}:
        _shift(folder, next(entry for entry in subnets if entry.weights == weights))
    (folder / palette.manifest.subnets[0].graph).unlink()
    feeds = feeds_of(palette)
    answers = {e.name: create_session(folder / e.graph, 1).run(None, feeds)[0].ravel().tolist() for e in subnets}
    (folder / palette.manifest.probes).write_text(Probes(inputs=inputs, answers=answers).model_dump_json())
    names = {e.graph for e in subnets} | {e.weights for e in subnets}
    names |= {palette.manifest.text_input.tokenizer.file, palette.manifest.probes}
    changes = {"subnets": subnets, "files": [file_entry(folder / name) for name in sorted(names)]}
    manifest = palette.manifest.model_copy(update=changes).sealed()
    write_json(folder / MANIFEST_NAME, manifest.model_dump(mode="json"))
    return folder


def _shift(folder: Path, entry: SubnetEntry) -> None:
    """Make the numbers that a subnet uses last higher by one, in the weights that others share."""
    model = onnx.load(str(folder / entry.graph), load_external_data=False)
    path = folder / entry.weights
    path.write_bytes(with_one_added(path.read_bytes(), *last_numbers(model, stored_tensors(model))))


# The ways: each makes the folder hold what the new one holds.


def _run(*command: str | Path) -> None:
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def cp(new: Path, folder: Path) -> None:
    """Truncate each file and write it again."""
    _run("cp", "-r", f"{new}/.", folder)


def tar(new: Path, folder: Path) -> None:
    """Unlink each file and write it again."""
    _run("sh", "-c", 'tar -C "$0" -c . | tar -C "$1" -x', new, folder)


def docker_cp(new: Path, folder: Path) -> None:
    """Unpack the stream that docker sends, whose files all are removed first, in the order of their names."""
    names = sorted(path.name for path in new.iterdir())
    _run("sh", "-c", 'tar -C "$0" -c "$@" | tar -C "$TO" -x --unlink-first'.replace("$TO", str(folder)), new, *names)


def rsync(new: Path, folder: Path) -> None:
    """Write each file beside the old one, and rename it."""
    _run("rsync", "-a", "--ignore-times", f"{new}/", folder)


def rsync_in_place(new: Path, folder: Path) -> None:
    """Write into the old files."""
    _run("rsync", "-a", "--ignore-times", "--inplace", "--no-whole-file", f"{new}/", folder)


def slow_copy(new: Path, folder: Path, bytes_per_s: float = SLOW_BYTES_PER_S, rest_s: float = REST_S) -> None:
    """Copy file by file, the manifest first; stop in the middle of the largest, wait, and go on."""
    largest = max(new.iterdir(), key=lambda path: path.stat().st_size)
    for path in sorted(new.iterdir(), key=lambda path: (path.name != MANIFEST_NAME, path == largest)):
        if path == largest:
            _throttled(path, folder / path.name, bytes_per_s, path.stat().st_size // 2)
            time.sleep(rest_s)
        _throttled(path, folder / path.name, bytes_per_s, path.stat().st_size)
        if path.name == MANIFEST_NAME:
            time.sleep(rest_s)


def _throttled(source: Path, target: Path, bytes_per_s: float, size: int) -> None:
    with source.open("rb") as read, target.open("wb") as write:
        while size > 0 and (chunk := read.read(min(size, 1 << 20))):
            write.write(chunk)
            write.flush()
            size -= len(chunk)
            time.sleep(len(chunk) / bytes_per_s)


@contextmanager
def ways() -> Iterator[dict[str, Way]]:
    """Return by name the ways that this machine has programs for."""
    every: dict[str, Way] = {"cp -r": cp, "tar": tar, "docker cp (its stream)": docker_cp}
    if shutil.which("rsync"):
        every |= {"rsync -a": rsync, "rsync -a --inplace": rsync_in_place}
    with ssh_server() as scp_options:
        if scp_options is not None:
            every["scp -r"] = lambda new, folder: _run(
                "scp", "-q", "-r", *scp_options, *sorted(new.iterdir()), f"127.0.0.1:{folder}/"
            )
        yield every | {"slowly, the manifest first, interrupted": slow_copy}


# The process that serves: what it answers is compared there.


@dataclass
class Counts:
    """Count what the clients saw."""

    answered: int = 0
    lost: int = 0
    wrong: int = 0
    digest: str = ""
    errors: list[str] = field(default_factory=list)


def feeds_of(palette: Palette) -> Feeds:
    """Return the feeds of the stored probes."""
    inputs = palette.probes().inputs
    return {spec.name: np.array(inputs[spec.name], np.int64) for spec in palette.manifest.graph_inputs}


def plain_answers(palette: Palette, feeds: Feeds) -> dict[str, list[Any]]:
    """Return what a plain session answers, by subnet."""
    names = [entry.name for entry in palette.manifest.subnets]
    return {name: create_session(palette.graph_path(name), 1).run(None, feeds)[0].tolist() for name in names}


def serve(folder: str, expected_file: str) -> None:
    """Serve until standard input ends; report counts on standard output."""
    stop, counts = threading.Event(), [Counts() for _ in range(CLIENTS)]
    known = json.loads(Path(expected_file).read_text(encoding="utf-8"))
    expected = {d: {name: np.array(out) for name, out in answers.items()} for d, answers in known.items()}
    with AdaptiveSession(folder, threads=1, interval_s=0.05) as session:
        feeds = feeds_of(session.palette)
        clients = [threading.Thread(target=_ask, args=(session, feeds, expected, own, stop)) for own in counts]
        threading.Thread(target=_stop_at_end, args=(stop,), daemon=True).start()
        for client in clients:
            client.start()
        while not stop.wait(REPORT_EVERY_S):
            _report(counts)
        for client in clients:
            client.join()
    _report(counts)


def _stop_at_end(stop: threading.Event) -> None:
    sys.stdin.read()
    stop.set()


def _ask(
    session: AdaptiveSession, feeds: Feeds, expected: Mapping[str, Any], own: Counts, stop: threading.Event
) -> None:
    while not stop.is_set():
        try:
            answer = session.answer(None, feeds)
            digest = answer.palette.manifest.digest
            right = np.abs(answer.outputs[0] - expected[digest][answer.subnet]).max() <= 1e-5
        except Exception as error:  # noqa: BLE001 (whatever it is, the request is lost)
            own.lost += 1
            own.errors = [*own.errors[-3:], repr(error)]
            continue
        own.answered += 1
        own.wrong += not right
        own.digest = digest


def _report(counts: list[Counts]) -> None:
    total = {key: sum(getattr(own, key) for own in counts) for key in ("answered", "lost", "wrong")}
    digests = {own.digest for own in counts}
    total["errors"] = [error for own in counts for error in own.errors]
    total["digest"] = digests.pop() if len(digests) == 1 else None
    print(json.dumps(total), flush=True)


class Server:
    """The process, and its last report."""

    def __init__(self, folder: Path, expected: Path) -> None:
        self.last: dict[str, Any] = {"answered": 0, "lost": 0, "wrong": 0, "errors": [], "digest": None}
        command = [sys.executable, "-m", "benchmarks.swapping.replacements", str(folder), str(expected)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.last = json.loads(line)

    def serves(self, digest: str, limit_s: float = SERVED_WITHIN_S) -> bool:
        """Wait until every client is answered by that palette; whether that came in time."""
        end_s = time.monotonic() + limit_s
        while self.last["digest"] != digest:
            if self.process.poll() is not None or time.monotonic() > end_s:
                return False
            time.sleep(0.02)
        return True

    def close(self) -> bool:
        """End it; whether it had died before."""
        died = self.process.poll() is not None
        with suppress(OSError):
            assert self.process.stdin is not None
            self.process.stdin.close()
        self.process.wait(60)
        self._reader.join()
        return died or self.process.returncode != 0


def replaced(name: str, way: Way, versions: list[Path], work: Path, times: int) -> dict[str, Any]:
    """Replace one folder a number of times in one way and return the counts."""
    folder = work / name.replace(" ", "-")
    shutil.copytree(versions[0], folder)
    palettes = [load(version) for version in versions]
    feeds = feeds_of(palettes[0])
    expected = folder.with_suffix(".expected.json")
    expected.write_text(json.dumps({p.manifest.digest: plain_answers(p, feeds) for p in palettes}))
    server, waited_s, died = Server(folder, expected), [], 0
    began = server.serves(palettes[0].manifest.digest)
    for turn in range(1, times + 1):
        new = palettes[turn % len(palettes)]
        way(new.folder, folder)
        whole_s = time.monotonic()
        if began and server.serves(new.manifest.digest):
            waited_s.append(time.monotonic() - whole_s)
        if server.process.poll() is not None:
            died += 1
            server = Server(folder, expected)
            began = server.serves(new.manifest.digest)
    died += server.close()
    shutil.rmtree(folder)
    counts = {key: server.last[key] for key in ("answered", "lost", "wrong", "errors")}
    seconds = [round(f(waited_s), 2) for f in (min, median, max)] if waited_s else []
    return {"replacements": times, "served": len(waited_s), "seconds": seconds, "deaths": died, **counts}


def measured(palette: Palette, work: Path, times: int) -> dict[str, Any]:
    """Run each way and return its counts."""
    first = Path(shutil.copytree(palette.folder, work / "first", ignore=shutil.ignore_patterns("profiles")))
    versions, result = [first, other_palette(load(first), work / "second")], {}
    with ways() as every:
        for name, way in every.items():
            result[name] = replaced(name, way, versions, work, times)
            print(name, json.dumps(result[name]), file=sys.stderr, flush=True)
    return result


def held(result: Mapping[str, Any]) -> bool:
    """Return whether the claim held."""
    return all(
        of["served"] == of["replacements"] and of["answered"] > 0 and of["lost"] == of["wrong"] == of["deaths"] == 0
        for of in result.values()
    )


def main(
    palette_folder: PaletteFolder, times: Annotated[int, typer.Option(min=1, help="replacements by each way")] = TIMES
) -> int:
    """Replace copies of the palette, and save the figures."""
    palette = load(palette_folder)
    with tempfile.TemporaryDirectory() as work:
        result = measured(palette, Path(work), times)
    size_mb = sum(entry.size_bytes for entry in palette.manifest.files) / 1e6
    document = {"palette_mb": round(size_mb, 1), "clients": CLIENTS, "ways": result}
    output.save_result("replacements", document)
    return 0 if held(result) else 1


if __name__ == "__main__":
    serve(*sys.argv[1:])
