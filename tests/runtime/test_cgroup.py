from __future__ import annotations

from pathlib import Path

import pytest

from edgedistill.runtime.cgroup import cpu_quota, memory_left_bytes, memory_limit_bytes, unified_folders
from edgedistill.runtime.onnx import usable_cores

MB = 10**6
NO_LIMIT_V1 = "9223372036854771712"

V1_MEMBERSHIP = "9:name=systemd:/\n4:memory:/docker/abc\n2:cpuacct,cpu:/docker/abc\n0::/\n"


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return root


def v1(quota: str, period: str, limit: str, used: int, inactive: int) -> dict[str, str]:
    return {
        "proc/self/cgroup": V1_MEMBERSHIP,
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_quota_us": quota,
        "sys/fs/cgroup/cpu/docker/abc/cpu.cfs_period_us": period,
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
        "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": limit,
        "sys/fs/cgroup/memory/docker/abc/memory.usage_in_bytes": str(used),
        "sys/fs/cgroup/memory/docker/abc/memory.stat": f"cache 5\ninactive_file 1\ntotal_inactive_file {inactive}",
    }


def v2(quota: str, limit: str, high: str, used: int, inactive: int) -> dict[str, str]:
    return {
        "proc/self/cgroup": "0::/user.slice/app.service\n",
        "sys/fs/cgroup/cgroup.controllers": "cpu memory",
        "sys/fs/cgroup/user.slice/app.service/cpu.max": quota,
        "sys/fs/cgroup/user.slice/app.service/memory.max": limit,
        "sys/fs/cgroup/user.slice/app.service/memory.high": high,
        "sys/fs/cgroup/user.slice/app.service/memory.current": str(used),
        "sys/fs/cgroup/user.slice/app.service/memory.stat": f"anon 5\ninactive_file {inactive}",
    }


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        (v1("150000", "100000", NO_LIMIT_V1, 0, 0), 1.5),
        (v1("-1", "100000", NO_LIMIT_V1, 0, 0), None),
        (v2("50000 100000", "max", "max", 0, 0), 0.5),
        (v2("max 100000", "max", "max", 0, 0), None),
        (v2("nonsense", "max", "max", 0, 0), None),
        ({}, None),
        ({"proc/self/cgroup": "0::/gone\n"}, None),
    ],
)
def test_cpu_quota(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    assert cpu_quota(tree(tmp_path, files)) == quota


@pytest.mark.parametrize(
    ("files", "limit", "left"),
    [
        (v1("-1", "100000", str(500 * MB), 300 * MB, 100 * MB), 500 * MB, 300 * MB),
        (v2("max 100000", str(500 * MB), "max", 300 * MB, 100 * MB), 500 * MB, 300 * MB),
        (v2("max 100000", str(500 * MB), str(400 * MB), 300 * MB, 0), 400 * MB, 100 * MB),
        (v2("max 100000", "max", "max", 300 * MB, 0), None, None),
        (v2("max 100000", str(100 * MB), "max", 300 * MB, 0), 100 * MB, 0),
        (v1("-1", "100000", NO_LIMIT_V1, 300 * MB, 0), None, None),
        ({}, None, None),
    ],
)
def test_memory(tmp_path: Path, files: dict[str, str], limit: int | None, left: int | None) -> None:
    root = tree(tmp_path, files)
    assert memory_limit_bytes(root) == limit
    assert memory_left_bytes(root) == left


def test_an_ancestors_limit_applies_too(tmp_path: Path) -> None:
    files = v2("max 100000", str(500 * MB), "max", 100 * MB, 0) | {
        "sys/fs/cgroup/user.slice/cpu.max": "200000 100000",
        "sys/fs/cgroup/user.slice/memory.max": str(300 * MB),
        "sys/fs/cgroup/user.slice/memory.current": str(250 * MB),
    }
    root = tree(tmp_path, files)
    assert cpu_quota(root) == 2.0
    assert memory_left_bytes(root) == 50 * MB


def test_a_container_that_sees_only_its_own_group(tmp_path: Path) -> None:
    # The path is the host's, while the group is mounted at the top.
    files = {
        "proc/self/cgroup": "4:memory:/docker/abc\n2:cpu,cpuacct:/docker/abc\n",
        "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "100000",
        "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
    }
    assert cpu_quota(tree(tmp_path, files)) == 2.0


def test_a_path_outside_of_the_namespace_is_not_followed(tmp_path: Path) -> None:
    files = {
        "proc/self/cgroup": "0::/../other\n",
        "sys/fs/cgroup/cpu.max": "100000 100000",
        "sys/fs/other/cpu.max": "1 1",
    }
    assert cpu_quota(tree(tmp_path, files)) == 1.0


@pytest.mark.parametrize(
    ("files", "folders"),
    [
        (v2("max 100000", "max", "max", 0, 0), ["user.slice/app.service", "user.slice", ""]),
        # Both versions, as on JetPack 5: the controllers are in version 1.
        (
            {"proc/self/cgroup": "4:memory:/v1\n0::/a\n", "sys/fs/cgroup/unified/a/cpu.pressure": ""},
            ["unified/a", "unified"],
        ),
        ({"proc/self/cgroup": "4:memory:/v1\n"}, []),
        ({}, []),
    ],
)
def test_the_groups_of_version_2(tmp_path: Path, files: dict[str, str], folders: list[str]) -> None:
    assert unified_folders(tree(tmp_path, files)) == [tmp_path / "sys/fs/cgroup" / folder for folder in folders]


@pytest.mark.parametrize(("quota", "cores"), [("10000 100000", 1), ("150000 100000", 1), ("max 100000", None)])
def test_usable_cores_keep_to_the_quota(tmp_path: Path, quota: str, cores: int | None) -> None:
    unlimited = usable_cores(tmp_path / "nothing")
    assert usable_cores(tree(tmp_path, v2(quota, "max", "max", 0, 0))) == (cores or unlimited)
