"""cluster.yaml and its variants: Ray takes them, what Ray does not look at is sound, and so is how nodes are set up."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FILES = [ROOT / "cluster.yaml", *sorted((ROOT / "jobs").glob("cluster_*.yaml"))]
of_each = pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)


def read(file: Path) -> dict:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


def workers(cluster: dict) -> dict[str, dict]:
    types = cluster.get("available_node_types", {})
    return {name: kind for name, kind in types.items() if name != cluster["head_node_type"]}


def commands(tree: object) -> list[str]:
    """Every shell command anywhere in a cluster's settings."""
    if isinstance(tree, dict):
        lists = [value for name, value in tree.items() if name.endswith("_commands")]
        return [line for found in lists for line in found] + [it for value in tree.values() for it in commands(value)]
    return []


# ---------------------------------------------------------------- what the files say


@of_each
def test_ray_takes_the_cluster(file):
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(read(file)))


@of_each
def test_ray_refuses_the_cluster_with_a_word_misspelt(file):
    from jsonschema import ValidationError
    from ray.autoscaler._private.util import prepare_config, validate_config

    with pytest.raises(ValidationError, match="idle_timeout"):
        validate_config(prepare_config({**read(file), "idle_timeout": 5}))


@of_each
def test_every_pool_is_bounded_and_begins_empty(file):
    cluster = read(file)
    for kind in workers(cluster).values():
        assert kind["min_workers"] == 0
        assert 0 < kind["max_workers"] <= cluster["max_workers"]
        assert all(type(number) is int for number in kind["resources"].values())
    if cluster["provider"]["type"] != "local":  # machines that are there are all used
        assert cluster["available_node_types"][cluster["head_node_type"]]["resources"] == {"CPU": 0}
        assert cluster["idle_timeout_minutes"] > 0


def size(machine: dict) -> int:
    """CPUs of a cloud's machine, by its name: c6i.4xlarge has 4 x 4, n2-standard-16 has 16."""
    name = machine.get("InstanceType") or machine["machineType"]
    if found := re.fullmatch(r"[a-z]+\d[a-z]*\.(\d*)xlarge", name):
        return 4 * int(found[1] or 1)
    found = re.fullmatch(r"[a-z]+\d[a-z]*-(?:standard|highmem|highcpu)-(\d+)", name)
    assert found, f"{name} is no name of a machine"
    return int(found[1])


@of_each
def test_a_pool_offers_what_its_machines_have_on_spot_and_without(file):
    pools = workers(read(file))
    for name, kind in pools.items():
        assert kind["resources"]["CPU"] == size(kind["node_config"]), name
        machine = kind["node_config"].get("InstanceType") or kind["node_config"]["machineType"]
        assert bool(kind["resources"].get("GPU")) == bool(re.match(r"g\d", machine)), name
        if name.endswith("_spot"):
            usual = pools[name.removesuffix("_spot")]
            assert kind["priority"] > usual.get("priority", 0)
            assert (kind["resources"], kind["labels"]) == (usual["resources"], usual["labels"])
            told = json.dumps(kind["node_config"]).lower()
            assert '"spot"' in told
            assert '"spot"' not in json.dumps(usual["node_config"]).lower()


@of_each
def test_nothing_of_ray_is_offered_to_the_world(file):
    cluster = read(file)
    assert "0.0.0.0" not in file.read_text()
    heads = [line for line in cluster["head_start_ray_commands"] if "ray start" in line]
    assert heads and all("--head" in line and "--dashboard-host=127.0.0.1" in line for line in heads)
    assert any("RAY_AUTH_MODE=token" in line for line in commands(cluster))
    assert cluster["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"


@of_each
def test_every_file_that_a_node_is_told_of_is_in_the_checkout_that_it_gets(file):
    cluster = read(file)
    assert cluster["file_mounts"]["~/raysign"] == "."
    named = {path for line in commands(cluster) for path in re.findall(r"~/raysign/([\w./-]+)", line)}
    assert named == {"jobs/setup_node.sh"} | ({"constraints.txt"} if file.stem != "cluster_local" else set())
    assert [path for path in named if not (ROOT / path).is_file()] == []
    for name in cluster["rsync_filter"]:
        assert (ROOT / name).is_file()


@of_each
def test_the_shell_understands_every_command(file):
    for line in [*commands(read(file)), (ROOT / "jobs" / "setup_node.sh").read_text()]:
        done = subprocess.run(["bash", "-n"], input=line, capture_output=True, text=True)
        assert (done.returncode, done.stderr) == (0, ""), line


@of_each
def test_every_node_is_set_up_alike(file):
    cluster = read(file)
    assert "bash ~/raysign/jobs/setup_node.sh" in cluster["setup_commands"]
    assert "worker_setup_commands" not in cluster
    assert not [name for name, kind in workers(cluster).items() if "worker_setup_commands" in kind]


# ---------------------------------------------------------------- how a node is set up


def test_a_node_gets_the_system_packages_of_the_makefile():
    asked = re.search(r'^packages="(.+?)"', (ROOT / "jobs" / "setup_node.sh").read_text(), re.MULTILINE)
    made = re.search(r"^SYSTEM_PACKAGES := (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert asked and made
    assert set(asked[1].split()) == {"python3-venv", *made[1].split()}


@pytest.mark.skipif("RAYSIGN_TEST_ROOT" not in os.environ, reason="takes minutes, and a folder that debootstrap made")
def test_a_bare_machine_that_was_set_up_runs_raysign():
    """RAYSIGN_TEST_ROOT: a folder left by `debootstrap --include=ca-certificates bookworm FOLDER`. Takes root."""
    place = Path(os.environ["RAYSIGN_TEST_ROOT"])
    shutil.copy("/etc/resolv.conf", place / "etc" / "resolv.conf")
    files = "mkdir -p $1; cd $0; git ls-files -coz --exclude-standard | tar -c --null -T - | tar -x -C $1"
    subprocess.run(["bash", "-euo", "pipefail", "-c", files, ROOT, place / "root" / "raysign"], check=True)
    mounts = "mount --bind /proc $0/proc; mount --bind /dev $0/dev"
    bare = "env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin"
    inside = "bash ~/raysign/jobs/setup_node.sh && cd ~/raysign-env/bin && ./raysign doctor && ./pip check"
    script = f"set -e; {mounts}; {bare} chroot $0 bash -c '{inside}'"
    subprocess.run(["unshare", "--mount", "bash", "-c", script, place], check=True)
