"""File trees of boards, as their kernels show them.

Names and values are those that the kernels' documents and users' listings show, not copies of one board's files.
"""

from __future__ import annotations

from collections.abc import Mapping

Tree = Mapping[str, str]


def _four_cores(available_kb: int) -> Tree:
    return {
        "proc/stat": "cpu  1000 0 500 8000 100 0 20 0 0 0\n"
        + "".join(f"cpu{core} 250 0 125 2000 25 0 5 0 0 0\n" for core in range(4))
        + "intr 1 2 3\nprocs_running 3\n",
        "proc/loadavg": "0.52 0.58 0.59 3/213 4242\n",
        "proc/meminfo": f"MemTotal: 99000000 kB\nMemFree: 1 kB\nMemAvailable:   {available_kb} kB\nBuffers: 5 kB\n",
        "sys/devices/system/cpu/online": "0-3\n",
    }


def _zone(number: int, kind: str, temp: str, trips: Mapping[str, str] | None = None) -> Tree:
    """A thermal zone; trips as "passive 99000" by their number."""
    folder = f"sys/class/thermal/thermal_zone{number}"
    files = {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{temp}\n"}
    for trip, words in (trips or {}).items():
        kind_of_trip, at = words.split()
        files |= {
            f"{folder}/trip_point_{trip}_type": f"{kind_of_trip}\n",
            f"{folder}/trip_point_{trip}_temp": f"{at}\n",
        }
    return files


def _bound(zone: int, coolers: Mapping[str, str]) -> Tree:
    """What the zone's trip points switch on: the cooling device's type, by "cdev0 at trip 1"."""
    files: dict[str, str] = {}
    for where, kind in coolers.items():
        device, _, _, trip = where.split()
        folder = f"sys/class/thermal/thermal_zone{zone}"
        files |= {f"{folder}/{device}/type": f"{kind}\n", f"{folder}/{device}_trip_point": f"{trip}\n"}
    return files


def _coolers(*states: tuple[str, int]) -> Tree:
    files: dict[str, str] = {}
    for number, (kind, state) in enumerate(states):
        folder = f"sys/class/thermal/cooling_device{number}"
        files |= {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n"}
    return files


def _pi(model: str) -> Tree:
    return {
        **_four_cores(available_kb=3_000_000),
        "proc/device-tree/model": f"Raspberry Pi {model}\0",
        "proc/self/cgroup": "0::/system.slice/app.service\n",
        "sys/fs/cgroup/system.slice/app.service/memory.events": "low 0\n",  # no controller: Raspberry Pi OS's default
        "sys/class/hwmon/hwmon0/name": "cpu_thermal\n",
        "sys/class/hwmon/hwmon1/name": "rpi_volt\n",
        "sys/class/hwmon/hwmon1/in0_lcrit_alarm": "0\n",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1200000\n",  # its owner wants it slower
        "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1800000\n",
    }


# A kernel of the 6.1 line, with the firmware's bits.
RASPBERRY_PI_4 = {
    **_pi("4 Model B Rev 1.4"),
    **_zone(0, "cpu-thermal", "48199", {"0": "critical 110000"}),
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50000\n",  # since the start, not now
}

# A kernel after March 2025, without them; its trip points are the fan's.
RASPBERRY_PI_5 = {
    **_pi("5 Model B Rev 1.0"),
    **_zone(0, "cpu-thermal", "61500", {"0": "critical 110000", "1": "active 50000", "4": "active 75000"}),
    **_coolers(("pwm-fan", 2)),
}

JETSON_ORIN = {
    **_four_cores(available_kb=5_000_000),
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/self/cgroup": "12:memory:/user.slice\n3:cpu,cpuacct:/user.slice\n0::/user.slice\n",
    **_zone(0, "cpu-thermal", "52031", {"0": "passive 99000", "1": "critical 104500", "2": "passive 70000"}),
    **_bound(0, {"cdev0 at trip 0": "cpufreq-cpu0", "cdev1 at trip 2": "hot-surface-alert"}),
    **_zone(1, "gpu-thermal", "91000", {"0": "passive 60000"}),
    **_zone(2, "cv0-thermal", "-256000"),
    **_zone(5, "soc0-thermal", "51000", {"0": "passive 98500"}),
    **_bound(5, {"cdev0 at trip 0": "soc0-throttle-alert"}),
    **_zone(8, "tj-thermal", "53250", {"0": "active 35000"}),
    **_bound(8, {"cdev0 at trip 0": "pwm-fan"}),
    **_coolers(("cpufreq-cpu0", 0), ("devfreq-17000000.gpu", 4), ("pwm-fan", 1), ("hot-surface-alert", 1)),
    "sys/class/hwmon/hwmon3/name": "soctherm_oc\n",
    "sys/class/hwmon/hwmon3/oc1_event_cnt": "0\n",
    "sys/class/hwmon/hwmon3/oc1_throt_en": "1\n",
    "sys/class/hwmon/hwmon3/oc3_event_cnt": "27390\n",
    "sys/class/hwmon/hwmon3/oc3_throt_en": "1\n",
    "sys/class/power_supply/ucsi-source-psy-2-0008/type": "USB\n",  # a socket that nothing is plugged into
    "sys/class/power_supply/ucsi-source-psy-2-0008/online": "0\n",
    "sys/devices/system/cpu/cpufreq/policy0/scaling_max_freq": "1510400\n",  # the power mode
    "sys/devices/system/cpu/cpufreq/policy0/cpuinfo_max_freq": "1728000\n",
    "var/lib/nvpmodel/status": "pmode:0001\n",
    "etc/nvpmodel.conf": "# modes\n< POWER_MODEL ID=0 NAME=15W >\nCPU_ONLINE CORE_0 1\n< POWER_MODEL ID=1 NAME=7W >\n",
}

LAPTOP = {
    **_four_cores(available_kb=9_000_000),
    "proc/self/cgroup": "0::/user.slice/session.scope\n",
    "sys/fs/cgroup/user.slice/session.scope/cpu.pressure": "some avg10=12.50 avg60=1.00 avg300=0.00 total=5\n",
    "proc/pressure/cpu": "some avg10=80.00 avg60=1.00 avg300=0.00 total=5\n",
    "proc/pressure/memory": "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 total=0\n",
    **_zone(0, "acpitz", "27800", {"0": "critical 119000", "1": "passive 95000"}),
    **_bound(0, {"cdev0 at trip 1": "Processor"}),
    **_zone(1, "INT3400 Thermal", "20000"),
    **_zone(2, "x86_pkg_temp", "67000", {"0": "passive 60000", "1": "passive 0"}),
    **_zone(3, "iwlwifi_1", "99000"),
    **_coolers(("Processor", 0), ("Processor", 0), ("Fan", 1), ("intel_powerclamp", -1)),
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "320794\n",
    "sys/class/power_supply/AC/type": "Mains\n",
    "sys/class/power_supply/AC/online": "0\n",
    "sys/class/power_supply/BAT0/type": "Battery\n",
    "sys/class/power_supply/BAT0/status": "Discharging\n",
    "sys/class/power_supply/BAT0/capacity": "81\n",
    "sys/class/power_supply/hid-mouse/type": "Battery\n",
    "sys/class/power_supply/hid-mouse/scope": "Device\n",
    "sys/class/power_supply/hid-mouse/status": "Discharging\n",
    "sys/class/power_supply/hid-mouse/capacity": "5\n",
    "sys/firmware/acpi/platform_profile": "balanced\n",
}

CONTAINER_V1 = {
    **_four_cores(available_kb=9_000_000),
    "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n0::/docker/abc\n",
    "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "200000\n",
    "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "500000000\n",
    "sys/fs/cgroup/memory/memory.usage_in_bytes": "300000000\n",
    "sys/fs/cgroup/memory/memory.stat": "inactive_file 1\ntotal_inactive_file 100000000\n",
}

CONTAINER_V2 = {
    **_four_cores(available_kb=9_000_000),
    "proc/self/cgroup": "0::/\n",
    "sys/fs/cgroup/cgroup.controllers": "cpu memory\n",
    "sys/fs/cgroup/cpu.max": "200000 100000\n",
    "sys/fs/cgroup/memory.max": "400000000\n",
    "sys/fs/cgroup/memory.high": "max\n",
    "sys/fs/cgroup/memory.current": "150000000\n",
    "sys/fs/cgroup/memory.stat": "anon 5\ninactive_file 50000000\n",
    "sys/fs/cgroup/cpu.pressure": "some avg10=99.00 avg60=1.00 avg300=0.00 total=5\n",
    "sys/fs/cgroup/memory.pressure": "some avg10=3.25 avg60=1.00 avg300=0.00 total=5\n",
}

BOARDS: Mapping[str, Tree] = {
    "Raspberry Pi 4": RASPBERRY_PI_4,
    "Raspberry Pi 5": RASPBERRY_PI_5,
    "Jetson Orin": JETSON_ORIN,
    "laptop": LAPTOP,
    "container, version 1": CONTAINER_V1,
    "container, version 2": CONTAINER_V2,
    "nothing": {},
}
