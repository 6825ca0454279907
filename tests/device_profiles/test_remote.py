"""A profile from a board over SSH: against a real OpenSSH server on this machine."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import programs
import pytest
import readme
import ssh_board
import tiny_palette
from commands import invoke, one_line
from ssh_board import Board, board

from edgedistill.device_profiles.remote import default_requirement, profile_remotely
from edgedistill.errors import InputError, RemoteError
from edgedistill.palette import DeviceProfile, Palette, load
from edgedistill.runtime.device import device_name

FEW = ("--lengths", "8", "--threads", "1")
TOOLS = ("sh", "dd", "head", "tar", "mktemp", "rm", "cat")  # all that a board needs beside Python


@pytest.fixture(scope="module")
def palette(tmp_path_factory: pytest.TempPathFactory) -> Palette:
    return load(tiny_palette.write(tmp_path_factory.mktemp("remote") / "palette"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Board]:
    """A board with this EdgeDistill on its path."""
    with board(tmp_path_factory.mktemp("board")) as found:
        yield found


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A folder of programs for a board's path, with what every board has."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return folder


Ask = Callable[..., DeviceProfile]


@pytest.fixture
def ask(palette: Palette, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ask:
    """Profile on a board; the profile goes to ``tmp_path / "profiles"``."""

    def profile(on: Board, host: str = "board", arguments: tuple[str, ...] = FEW, **options: object) -> DeviceProfile:
        monkeypatch.setenv("PATH", f"{on.bin}{os.pathsep}{os.environ['PATH']}")
        options = {"palette": palette, "folder": tmp_path / "profiles", "on_progress": lambda _: None} | options
        return profile_remotely(host=host, arguments=arguments, **options)  # type: ignore[arg-type]

    return profile


@pytest.fixture
def fails(ask: Ask, tmp_path: Path) -> Callable[..., str]:
    """Profile where that cannot be: the one line, when nothing was left on either side."""

    def told(on: Board, *arguments: str, **options: object) -> str:
        with pytest.raises(RemoteError) as raised:
            ask(on, *arguments, **options)
        on.wait_until_empty()
        assert not (tmp_path / "profiles").exists()
        assert "\n" not in str(raised.value)
        return str(raised.value)

    return told


def program(folder: Path, name: str, text: str) -> None:
    """A program for a board's path, in the shell's language."""
    (folder / name).write_text(f"#!/bin/sh\n{text}\n")
    (folder / name).chmod(0o755)


@pytest.mark.slow
def test_the_command_measures_on_the_board(whole: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{whole.bin}{os.pathsep}{os.environ['PATH']}")
    folder = tiny_palette.write(tmp_path / "palette")
    done = invoke("profile", folder, "--ssh", "board", "--lengths", "4,8", "--threads", "1", "--quick", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["profile"]["device"]["name"] == device_name()
    (found,) = load(folder).profiles.values()
    assert [point.tokens for point in found.subnets[0].latency] == [4, 8]
    assert "board: measuring with" in done.stderr
    whole.wait_until_empty()
    one_line(invoke("profile", folder, "--install", "edgedistill"), "--install is for the board of --ssh")


@pytest.mark.slow
def test_the_profile_of_the_board_comes_back(whole: Board, ask: Ask, palette: Palette, tmp_path: Path) -> None:
    seen: list[str] = []
    found = ask(whole, f"{ssh_board.USER}@127.0.0.1:{whole.port}", on_progress=seen.append)
    assert whole.left() == []
    assert found.manifest_digest == palette.manifest.digest
    assert {point.tokens for subnet in found.subnets for point in subnet.latency} == {8}
    assert load(palette.folder, profiles=tmp_path / "profiles").profiles == {device_name(): found}
    stages = ("connected", "copying", "measuring", "✓ profiling this machine")
    places = [next(place for place, line in enumerate(seen) if line.startswith(stage)) for stage in stages]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("host", "says"),
    [
        ("nowhere.invalid", "nowhere.invalid: no such host"),
        ("127.0.0.1:{free}", "no SSH server answers there"),
    ],
)
def test_a_host_that_is_not_there(whole: Board, fails: Callable[..., str], host: str, says: str) -> None:
    assert says in fails(whole, host.format(free=programs.free_port()))


def test_keys_that_do_not_fit(tmp_path: Path, fails: Callable[..., str]) -> None:
    with board(tmp_path / "board") as on:
        ssh_board.make_key(tmp_path / "other")
        ssh_board.know(on.folder, on.port, tmp_path / "other.pub")
        assert "its host key has changed; find out why, then run 'ssh board' once by hand" in fails(on)
        (on.folder / "known").write_text("")
        told = fails(on, f"127.0.0.1:{on.port}")
        assert f"its host key is not known here; run 'ssh -p {on.port} 127.0.0.1' once by hand" in told
        ssh_board.know(on.folder, on.port, on.folder / "host.pub")
        (tmp_path / "other").replace(on.folder / "user")
        assert "board: it takes none of your keys; 'ssh-copy-id board' gives it one" in fails(on)


def test_a_workstation_without_ssh(whole: Board, ask: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Board, "bin", Path("nothing"))
    monkeypatch.setenv("PATH", "")
    with pytest.raises(RemoteError, match="no ssh on this machine"):
        ask(whole)


@pytest.mark.parametrize("stage", ["copying", "measuring"])
def test_a_connection_that_is_cut(tmp_path: Path, tools: Path, fails: Callable[..., str], stage: str) -> None:
    (tools / "sleep").symlink_to(shutil.which("sleep") or "")
    program(tools, "edgedistill", "sleep 600")  # which does not end by itself before the test does

    def cut(line: str) -> None:
        if line.startswith(stage):
            if stage == "measuring":
                on.wait_for("sleep 600")
            assert on.left()
            on.cut()

    with board(tmp_path / "board", PATH=tools) as on:
        assert "board: the connection was lost before the end" in fails(on, on_progress=cut)


def test_an_interrupt_while_it_is_copied(whole: Board, ask: Ask, tmp_path: Path) -> None:
    def interrupt(line: str) -> None:
        if line.startswith("copying"):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ask(whole, on_progress=interrupt)
    whole.wait_until_empty()
    assert not (tmp_path / "profiles").exists()


_INTERRUPTED = """
import signal, sys
from edgedistill.device_profiles.remote import profile_remotely
from edgedistill.palette import load
# A test run in the background of a shell ignores SIGINT, and its children would too.
signal.signal(signal.SIGINT, signal.default_int_handler)
profile_remotely(load(sys.argv[1]), "board", [], on_progress=print)
"""


@pytest.mark.slow
def test_ctrl_c_leaves_the_board_clean(whole: Board, palette: Palette) -> None:
    environment = os.environ | {"PATH": f"{whole.bin}{os.pathsep}{os.environ['PATH']}"}
    command = [sys.executable, "-c", _INTERRUPTED, palette.folder]
    # A process group of its own, all of which gets the signal, as from a terminal.
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, start_new_session=True) as process:
        whole.wait_for("edgedistill profile")
        os.killpg(process.pid, signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    whole.wait_until_empty()
    assert b"KeyboardInterrupt" in errors
    assert not palette.profiles_folder.exists()


def test_a_full_disk(tmp_path: Path, fails: Callable[..., str]) -> None:
    full = tmp_path / "full"
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8k", "tmpfs", full]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to mount a file system")
    try:
        with board(tmp_path / "board", TMPDIR=full) as on:
            assert f"board: the palette cannot be written to {full}, which needs 1 MB free: tar: " in fails(on)
            assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", full], check=True)


def test_a_board_without_python(tmp_path: Path, tools: Path, fails: Callable[..., str]) -> None:
    with board(tmp_path / "board", PATH=tools) as on:
        for install in (None, default_requirement()):
            told = fails(on, install=install)
            assert told == "board: it has no python3; EdgeDistill needs Python 3.10 or later there"


def test_a_board_with_an_old_python(tmp_path: Path, tools: Path, fails: Callable[..., str]) -> None:
    as_old = "import sys; sys.version_info = (3, 9, 2); exec(sys.argv[2])"
    program(tools, "python3", f"exec {sys.executable} -c '{as_old}' \"$@\"")
    with board(tmp_path / "board", PATH=tools) as on:
        for install in (None, default_requirement()):
            assert fails(on, install=install).startswith("board: it has Python 3.9; EdgeDistill needs Python 3.10")


def test_a_board_without_edgedistill(tmp_path: Path, tools: Path, fails: Callable[..., str]) -> None:
    (tools / "python3").symlink_to(sys.executable)
    with board(tmp_path / "board", PATH=tools) as on:
        told = fails(on)
    assert f"add --install '{default_requirement()}' here, or run there: python3 -m venv ~/.local/share/" in told
    assert f"/venv/bin/pip install '{default_requirement()}'" in told


@pytest.mark.slow
@pytest.mark.long
def test_a_requirement_that_cannot_be_met_is_told_in_pip_s_words(tmp_path: Path, fails: Callable[..., str]) -> None:
    with board(tmp_path / "board", PIP_NO_INDEX=1) as on:
        told = fails(on, install="edgedistill==99")
    assert told == (
        "board: pip could not install edgedistill==99: ERROR: No matching distribution found for edgedistill==99"
    )


def test_a_wheel_that_is_no_file(whole: Board, ask: Ask) -> None:
    with pytest.raises(InputError, match=r"--install: nothing\.whl is not a file"):
        ask(whole, install="nothing.whl")


def test_options_that_its_edgedistill_does_not_know(whole: Board, fails: Callable[..., str]) -> None:
    told = fails(whole, "board", ("--length", "8"))
    assert told.startswith("board: No such option: --length")
    assert told.endswith(f"; install this EdgeDistill there: --install '{default_requirement()}'")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"schema_version": 1}, "its profile is of version 1, expected version "),
        ({"manifest_digest": "0" * 64}, "its profile is of another palette"),
        ({"schema_version": None}, "its profile is damaged"),
        ({"device": {"name": "../up"}}, "it calls itself '../up', which cannot name a file"),
        ({"device": {"name": "x" * 300}}, "which cannot name a file"),
        ({"subnets": []}, "its profile is not of the palette's 3 subnets"),
        ({"smallest": "\x1b[2J"}, "its profile is not of the palette's 3 subnets"),
        ({"subnets": "NaN"}, "its profile is damaged"),
        ({"subnets": "-1.0"}, "its profile is damaged"),
        ({"cut": None}, "its profile is damaged"),
    ],
    ids=["version", "palette", "damage", "name", "long-name", "no-subnets", "smallest", "nan", "negative", "cut"],
)
def test_profiles_that_are_not_ours(
    tmp_path: Path, tools: Path, palette: Palette, fails: Callable[..., str], changes: dict[str, object], says: str
) -> None:
    written = tiny_palette.profile(palette.manifest).model_dump(mode="json")
    for name, value in changes.items():
        written[name] = written[name] | value if isinstance(value, dict) else value
    text = json.dumps(written)
    if isinstance(changes.get("subnets"), str):
        written["subnets"] = tiny_palette.profile(palette.manifest).model_dump(mode="json")["subnets"]
        text = re.sub(r'"load_ms": [\d.]+', f'"load_ms": {changes["subnets"]}', json.dumps(written))
    (tmp_path / "profile.json").write_text(text[: len(text) // 2] if "cut" in changes else text)
    (tools / "mkdir").symlink_to(shutil.which("mkdir") or "")
    program(tools, "edgedistill", f"mkdir $2/profiles\ncat {tmp_path}/profile.json >$2/profiles/b.json")
    with board(tmp_path / "board", PATH=tools) as on:
        assert says in fails(on)


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("kill -9 $$", "ended with status 137 there; is there enough memory?"),
        ("echo 'Traceback:' >&2; echo 'ImportError: no module' >&2; exit 1", "board: ImportError: no module"),
        ("echo 'edgedistill: disk is full' >&2; echo bye >&2; exit 1", "board: disk is full"),
    ],
)
def test_a_run_that_fails_there(tmp_path: Path, tools: Path, fails: Callable[..., str], does: str, says: str) -> None:
    program(tools, "edgedistill", does)
    with board(tmp_path / "board", PATH=tools) as on:
        assert says in fails(on)


@pytest.mark.slow
def test_an_altered_palette_is_found_there(whole: Board, tmp_path: Path, fails: Callable[..., str]) -> None:
    altered = load(tiny_palette.write(tmp_path / "altered"))
    weights = altered.folder / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    told = fails(whole, palette=altered)
    assert told.startswith(f"board: {whole.tmp}/edgedistill.")
    assert "weights.bin was altered" in told


def test_what_a_board_writes_steers_no_terminal(tmp_path: Path, tools: Path, fails: Callable[..., str]) -> None:
    program(tools, "edgedistill", "printf 'edgedistill: \\033[31mred\\007\\n' >&2; exit 1")
    with board(tmp_path / "board", PATH=tools) as on:
        assert fails(on) == r"board: \x1b[31mred\x07"


def test_what_a_login_shell_says_stands_before_the_profile(
    tmp_path: Path, tools: Path, ask: Ask, palette: Palette
) -> None:
    profile = tiny_palette.profile(palette.manifest)
    (tmp_path / "profile.json").write_text(profile.model_dump_json(indent=1).replace("\n", "\r\n"))
    (tools / "mkdir").symlink_to(shutil.which("mkdir") or "")
    program(tools, "edgedistill", f"mkdir $2/profiles; cat {tmp_path}/profile.json >$2/profiles/b.json")
    with board(tmp_path / "board", PATH=tools) as on:
        (on.folder / "home" / ".bashrc").write_text("echo '<html>Welcome!</html>'; echo welcome >&2\n")
        assert ask(on) == profile


@pytest.mark.slow
def test_two_boards_of_one_name_keep_both_profiles(tmp_path: Path, tools: Path, ask: Ask, palette: Palette) -> None:
    first = tiny_palette.profile(palette.manifest, name="raspberrypi")
    second = first.model_copy(update={"device": first.device.model_copy(update={"cpu": "another"})})
    (tools / "mkdir").symlink_to(shutil.which("mkdir") or "")
    program(tools, "edgedistill", f"mkdir $2/profiles; cat {tmp_path}/profile.json >$2/profiles/b.json")
    seen: list[str] = []
    with board(tmp_path / "board", PATH=tools) as on:
        for profile in (first, second, second):
            (tmp_path / "profile.json").write_text(profile.model_dump_json())
            ask(on, on_progress=seen.append)
    kept = load(palette.folder, profiles=tmp_path / "profiles").profiles
    assert kept == {"raspberrypi": first, "raspberrypi-2": second}
    told = [line for line in seen if "names the profile of another machine" in line]
    assert (
        told
        == ["edgedistill: raspberrypi names the profile of another machine here (b); this one's is raspberrypi-2.json"]
        * 2
    )


def test_warnings_come_through(tmp_path: Path, tools: Path, ask: Ask, palette: Palette) -> None:
    (tmp_path / "profile.json").write_text(tiny_palette.profile(palette.manifest).model_dump_json())
    (tools / "mkdir").symlink_to(shutil.which("mkdir") or "")
    writes = f"mkdir $2/profiles; cat {tmp_path}/profile.json >$2/profiles/b.json"
    program(tools, "edgedistill", f"echo 'edgedistill: warm' >&2; {writes}")
    seen: list[str] = []
    with board(tmp_path / "board", PATH=tools) as on:
        assert ask(on, on_progress=seen.append).device.name == "here"
    assert "edgedistill: warm" in seen


@pytest.mark.slow
@pytest.mark.long
def test_a_wheel_is_installed_and_stays(tmp_path: Path, tools: Path, ask: Ask) -> None:
    """On a board with nothing but Python; the wheel is built from this tree."""
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", tmp_path / "wheels", readme.ROOT]
    subprocess.run(build, check=True, capture_output=True)
    (tools / "tail").symlink_to(shutil.which("tail") or "")
    (tools / "python3").symlink_to(Path(sys.base_prefix) / "bin" / "python3")
    with board(tmp_path / "board", PATH=tools, PIP_CONSTRAINT=readme.ROOT / "constraints.txt") as on:
        seen: list[str] = []
        ask(on, install=str(next((tmp_path / "wheels").glob("*.whl"))), on_progress=seen.append)
        installed = on.folder / "home" / ".local" / "share" / "edgedistill" / "venv"
        assert f"measuring with {installed}/bin/edgedistill" in seen
        assert ask(on).kind == "measured"
        assert on.left() == []
