"""How many runs a machine or a container is said to carry."""

import os
from pathlib import Path

import pytest

from wrappers.serving.capacity import cores, default_capacity, memory

GB = 1024**3
PHYSICAL = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
MINE = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def machine(root: Path, groups: str, files: dict[str, str]) -> Path:
    """A /proc that names these control groups, and a /sys with their files."""
    named = {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for path, text in {"proc/self/cgroup": groups, **named}.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{text}\n", encoding="utf-8")
    return root


def test_a_machine_without_limits_is_what_it_is(tmp_path: Path) -> None:
    root = machine(tmp_path, "0::/", {"memory.max": "max", "cpu.max": "max 100000"})
    assert memory(root) == PHYSICAL
    assert cores(root) == MINE


def test_nothing_is_known_where_there_is_no_proc(tmp_path: Path) -> None:
    assert (memory(tmp_path), cores(tmp_path)) == (PHYSICAL, MINE)


def test_a_containers_own_limits_stand_at_the_top(tmp_path: Path) -> None:
    # Without a namespace of its own a container sees the host's path, and no such folder.
    root = machine(tmp_path, "0::/docker/3f2a", {"memory.max": str(GB), "cpu.max": "50000 100000"})
    assert memory(root) == GB
    assert cores(root) == 1
    assert default_capacity(root=root) == 1


def test_the_least_limit_of_all_groups_above_counts(tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "0::/user/unit",
        {"user/memory.max": str(GB), "user/unit/memory.max": "max"},
    )
    assert memory(root) == GB


@pytest.mark.parametrize(("limit", "seen"), [(str(GB), GB), ("9223372036854771712", PHYSICAL)])
def test_version_1_names_its_files_otherwise(limit: str, seen: int, tmp_path: Path) -> None:
    root = machine(
        tmp_path,
        "4:memory:/box\n3:cpu,cpuacct:/",
        {
            "memory/box/memory.limit_in_bytes": limit,
            "cpu/cpu.cfs_quota_us": "100000",
            "cpu/cpu.cfs_period_us": "100000",
        },
    )
    assert (memory(root), cores(root)) == (seen, 1)


def test_a_missing_quota_of_version_1_is_no_limit(tmp_path: Path) -> None:
    root = machine(
        tmp_path, "3:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}
    )
    assert cores(root) == MINE


def test_several_agents_share_what_there_is(tmp_path: Path) -> None:
    alone = default_capacity(root=tmp_path)
    assert default_capacity(agents=2, root=tmp_path) == max(1, alone // 2)
    assert default_capacity(agents=1000, root=tmp_path) == 1
