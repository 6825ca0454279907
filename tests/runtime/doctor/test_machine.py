"""Each check of the machine, on file trees of boards."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path

import pytest

from edgedistill.runtime.doctor import Finding, memory_checks, processor_checks, sensor_checks, system_checks
from edgedistill.runtime.doctor.inference_checks import int8

Tree = Mapping[str, str]
Plant = Callable[[Tree], Path]

POLICY = "sys/devices/system/cpu/cpufreq/policy0"
BITS = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI = {"proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0"}
PI_OS = {
    "boot/firmware/cmdline.txt": "console=tty1 rootwait\n",
    "etc/os-release": 'PRETTY_NAME="Debian GNU/Linux 13"\n',
}
WIDE, NARROW = "\x7fELF\x02", "\x7fELF\x01"
POWERSAVE = {f"{POLICY}/scaling_governor": "powersave\n", f"{POLICY}/scaling_driver": "cpufreq-dt\n"}


def test_a_64_bit_system_is_right_whatever_the_board(plant: Plant) -> None:
    found = system_checks.system(plant(PI | PI_OS | {"proc/self/exe": WIDE}))
    assert found == Finding("ok", "Raspberry Pi 4 Model B Rev 1.4; Debian GNU/Linux 13, 64-bit")


@pytest.mark.parametrize(
    ("board", "fix"),
    [
        (PI, "Raspberry Pi OS (64-bit)"),
        ({"proc/device-tree/model": "NVIDIA Jetson Nano\0"}, "JetPack 6"),
        ({}, "install a 64-bit system"),
    ],
)
def test_32_bit_programs_want_another_image(plant: Plant, board: Tree, fix: str) -> None:
    found = system_checks.system(plant({**board, "proc/self/exe": NARROW}))
    assert found.state == "problem"
    assert "32-bit" in found.summary
    assert fix in (found.fix or "")


def test_an_old_python_wants_another_image(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert system_checks.python(plant(PI)).state == "ok"
    monkeypatch.setattr(sys, "version_info", (3, 9, 2))
    found = system_checks.python(plant(PI))
    assert found.state == "problem"
    assert "expected 3.10 or later" in found.summary


@pytest.mark.parametrize(
    ("cpuinfo", "state", "says"),
    [
        ("Features\t: fp asimd evtstrm crc32 cpuid\nCPU part\t: 0xd08\n", "note", "may be slower than fp32"),
        ("Features\t: fp asimd asimddp\nCPU part\t: 0xd0b\n", "ok", "asimd, asimddp: dot products of int8"),
        ("Features\t: asimd asimddp i8mm\n", "ok", "matrix products of int8"),
        ("flags\t\t: sse avx2\n", "ok", "avx2: no dot products"),
        ("flags\t\t: sse avx2 avx512f avx512_vnni\n", "ok", "dot products of int8, so"),
        ("flags\t\t: sse\n", "note", "slow"),
        ("", "note", "no instruction set"),
    ],
)
def test_what_the_instruction_sets_mean_for_int8(plant: Plant, cpuinfo: str, state: str, says: str) -> None:
    found = int8(plant({"proc/cpuinfo": cpuinfo}))
    assert found.state == state
    assert says in found.summary


def test_memory_of_a_board_and_of_containers(plant: Plant, boards: Mapping[str, Tree]) -> None:
    root = plant(boards["container, version 1"] | {"proc/self/limits": ""})
    assert memory_checks.memory(root) == Finding("ok", "300 MB free for this process; the machine has 101,376")
    assert "500 MB by its control group, 300 of them left" in memory_checks.limit(root).summary


def test_a_limit_that_leaves_too_little(plant: Plant, boards: Mapping[str, Tree]) -> None:
    root = plant({**boards["container, version 2"], "sys/fs/cgroup/memory.current": "440000000\n"})
    found = memory_checks.memory(root)
    assert found.state == "note"
    assert found.summary.startswith("10 MB free")
    assert "MemoryMax=" in (found.fix or "")


def test_a_machine_with_little_left(plant: Plant) -> None:
    root = plant({"proc/meminfo": "MemTotal: 500000 kB\nMemAvailable: 20000 kB\n"})
    assert "ps -eo rss" in (memory_checks.memory(root).fix or "")
    assert memory_checks.limit(root).summary == "no control group limits this process"


OFF = {"proc/cmdline": "coherent_pool=1M cgroup_disable=memory root=/dev/mmcblk0p2 rootwait\n"}
ON = {"proc/cmdline": "cgroup_disable=memory rootwait cgroup_enable=memory\n"}


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        (OFF | PI_OS, "sudo sed -i '1 s/$/ cgroup_enable=memory/' /boot/firmware/cmdline.txt && sudo reboot"),
        (
            OFF | {"boot/cmdline.txt": "\n"},
            "sudo sed -i '1 s/$/ cgroup_enable=memory/' /boot/cmdline.txt && sudo reboot",
        ),
        (OFF, "add cgroup_enable=memory to the kernel's command line"),
        (OFF | {"sys/fs/cgroup/cgroup.controllers": "cpu io memory pids\n"}, None),
        (ON, None),
        ({}, None),
    ],
)
def test_control_groups_of_memory_that_a_pi_switches_off(plant: Plant, files: Tree, fix: str | None) -> None:
    found = memory_checks.limitable(plant(files))
    assert found.state == ("ok" if fix is None else "note")
    assert fix is None or (found.fix or "").startswith(fix)


def test_the_boot_option_s_command_does_what_it_says(plant: Plant) -> None:
    """The commands that mend are run where their file is, not only compared."""
    jetson = {
        "boot/extlinux/extlinux.conf": "LABEL primary\n      LINUX /boot/Image\n      APPEND ${cbootargs} quiet\n"
    }
    for files, file in ((PI_OS, "boot/firmware/cmdline.txt"), (jetson, "boot/extlinux/extlinux.conf")):
        root = plant(files)
        fix = sensor_checks.cpu_pressure(root).fix or ""
        command = fix.removeprefix("sudo ").removesuffix(" && sudo reboot").replace(f" /{file}", f" {root / file}")
        subprocess.run(["sh", "-c", command], check=True)
        lines = (root / file).read_text().splitlines()
        assert [line.endswith(" psi=1") for line in lines] == [False] * (len(lines) - 1) + [True]
        (root / file).unlink()


def test_swap(plant: Plant) -> None:
    assert memory_checks.swap(plant({})).summary == "none"
    found = memory_checks.swap(plant({"proc/meminfo": "SwapTotal: 200000 kB\nSwapFree: 150000 kB\n"}))
    assert found.summary.startswith("51 of 205 MB in use")


@pytest.mark.usefixtures("four_cores")
def test_cores_affinity_and_quota(plant: Plant, boards: Mapping[str, Tree]) -> None:
    container = boards["container, version 2"]
    assert processor_checks.cores(plant(container)).summary == "2 usable; 4 by its affinity, a quota of 2"
    some = {"sys/devices/system/cpu/present": "0-5\n", "sys/devices/system/cpu/online": "0-3\n"}
    assert "cores 0-5 are there, 0-3 are switched on" in processor_checks.cores(plant(container | some)).summary
    stalls = processor_checks.cores(plant({"sys/fs/cgroup/cpu.max": "50000 100000\n"}))
    assert stalls.state == "note"
    assert "CPUQuota=100%" in (stalls.fix or "")


@pytest.mark.parametrize(
    ("files", "fix"),
    [
        (POWERSAVE | {f"{POLICY}/scaling_available_governors": "conservative ondemand powersave\n"}, "ondemand"),
        (POWERSAVE | {f"{POLICY}/scaling_available_governors": "performance schedutil powersave\n"}, "schedutil"),
        (POWERSAVE, "performance"),
        (POWERSAVE | {f"{POLICY}/scaling_driver": "intel_pstate\n"}, None),
        (POWERSAVE | {f"{POLICY}/scaling_governor": "ondemand\n"}, None),
        ({}, None),
    ],
)
def test_a_governor_that_holds_the_clock_down(plant: Plant, files: Tree, fix: str | None) -> None:
    found = processor_checks.governor(plant(files))
    assert found.state == ("ok" if fix is None else "note")
    assert found.fix == (fix and f"echo {fix} | sudo tee /sys/devices/system/cpu/cpufreq/policy*/scaling_governor")


def test_a_clock_that_is_capped(plant: Plant, boards: Mapping[str, Tree]) -> None:
    found = processor_checks.clock(plant(boards["Raspberry Pi 4"]))
    assert found.summary.startswith("capped at 1.2 of 1.8 GHz")
    assert found.fix == f"echo 1800000 | sudo tee /{POLICY}/scaling_max_freq"


def test_a_jetson_s_clock_is_its_power_mode_s(plant: Plant, boards: Mapping[str, Tree]) -> None:
    root = plant(boards["Jetson Orin"])
    assert processor_checks.clock(root).fix == "sudo nvpmodel -m NUMBER, where 0 is 15W, 1 is 7W"
    assert sensor_checks.power_mode(root).summary == "7W"
    full = plant({f"{POLICY}/scaling_max_freq": "1728000\n"})
    assert processor_checks.clock(full) == Finding("ok", "up to 1.728 GHz")


@pytest.mark.parametrize(("temp", "state"), [("48199", "ok"), ("76000", "note"), ("84000", "note")])
def test_temperature_and_its_distance(plant: Plant, boards: Mapping[str, Tree], temp: str, state: str) -> None:
    root = plant({**boards["Raspberry Pi 4"], "sys/class/thermal/thermal_zone0/temp": f"{temp}\n"})
    found = processor_checks.temperature(root)
    assert found.state == state
    assert found.summary == f"{int(temp) / 1e3:.1f} °C, {80 - int(temp) / 1e3:.1f} below where it is slowed down"


def test_a_temperature_without_a_limit_or_none(plant: Plant) -> None:
    assert "/sys/class/thermal" in processor_checks.temperature(plant({})).summary
    zone = {"sys/class/thermal/thermal_zone0/type": "cpu-thermal\n", "sys/class/thermal/thermal_zone0/temp": "5000\n"}
    assert "max_temperature_c" in processor_checks.temperature(plant(zone)).summary


@pytest.mark.parametrize(
    ("bits", "found", "fix"),
    [
        ("0", "now: no; since the start: no", None),
        ("50000", "now: no; since the start: low voltage, throttled", "power supply"),
        ("80008", "now: soft temperature limit; since the start: soft temperature limit", "fan"),
        (
            "e0006",
            "now: clock capped, throttled; since the start: clock capped, throttled, soft temperature limit",
            "fan",
        ),
    ],
)
def test_throttling_as_a_pi_s_firmware_tells(plant: Plant, bits: str, found: str, fix: str | None) -> None:
    told = processor_checks.throttling(plant(PI | {BITS: f"{bits}\n"}))
    assert told.summary == found
    assert (told.fix is None) if fix is None else (fix in (told.fix or ""))


def test_throttling_as_a_pi_s_tool_tells_where_the_kernel_does_not(plant: Plant, boards: Mapping[str, Tree]) -> None:
    root = plant(
        {
            **boards["Raspberry Pi 5"],
            "usr/bin/vcgencmd": "#!/bin/sh\n[ $1 = get_throttled ] && echo throttled=0x20000\n",
        }
    )
    (root / "usr/bin/vcgencmd").chmod(0o755)
    assert processor_checks.throttling(root).summary == "now: no; since the start: clock capped"
    plant({"usr/bin/vcgencmd": "#!/bin/sh\necho VCHI initialization failed\nexit 255\n"})
    assert "for want of vcgencmd" in processor_checks.throttling(root).summary


def test_throttling_as_a_jetson_counts_it(plant: Plant, boards: Mapping[str, Tree]) -> None:
    found = processor_checks.throttling(plant(boards["Jetson Orin"]))
    assert found.summary == "not now; 27,390 events since the start"
    assert "nvpmodel" in (found.fix or "")


@pytest.mark.usefixtures("four_cores")
def test_readings_of_a_laptop(plant: Plant, boards: Mapping[str, Tree]) -> None:
    root = plant(boards["laptop"])
    assert sensor_checks.run_queue(root).summary == "0.75 tasks of others for each usable core"
    assert sensor_checks.cpu_pressure(root).summary == "tasks waited for it in 12.5% of the last ten seconds"
    assert sensor_checks.power_supply(root) == Finding("ok", "on battery, 81% charged")
    assert sensor_checks.power_mode(root) == Finding("ok", "balanced")


def test_a_counter_that_stands_still_is_no_load(plant: Plant, boards: Mapping[str, Tree]) -> None:
    found = sensor_checks.cpu_load(plant(boards["Raspberry Pi 4"]))
    assert found.state == "note"
    assert "no figure in /proc/stat" in found.summary


def test_why_there_is_no_reading(plant: Plant, monkeypatch: pytest.MonkeyPatch) -> None:
    root = plant(PI_OS)
    assert sensor_checks.power_supply(root) == Finding("ok", "none here: no /sys/class/power_supply/*/type")
    off = sensor_checks.memory_pressure(root)
    assert off.fix == "sudo sed -i '1 s/$/ psi=1/' /boot/firmware/cmdline.txt && sudo reboot"
    plant({"proc/cmdline": "rootwait psi=1\n"})
    assert "built without" in sensor_checks.memory_pressure(root).summary
    plant({"sys/class/power_supply/BAT0/type": "Battery\n"})
    assert "no figure in /sys/class/power_supply/BAT0/type" in sensor_checks.power_supply(root).summary
    (root / "proc/loadavg").mkdir(parents=True)
    assert "/proc/loadavg: Is a directory" in sensor_checks.run_queue(root).summary

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert sensor_checks.power_supply(root).fix == "sudo chmod a+r /sys/class/power_supply/BAT0/type"


def test_the_least_python_is_the_package_s_own() -> None:
    assert system_checks.version_of(metadata.metadata("edgedistill")["Requires-Python"] or "") == (3, 10)
    assert system_checks.version_of("1.23.2rc1") == (1, 23, 2)
    assert system_checks.version_of("none") == ()
