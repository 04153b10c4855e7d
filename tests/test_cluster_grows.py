"""Work on a cluster with cluster.yaml's pools makes machines start, of the kind that is preferred.

The autoscaler is Ray's, and so is the provider, whose machines are processes of this one.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from test_cluster import ROOT, read, workers
from test_jobs import BIN, free_port

# named by its kind, fake_multinode, it would want a file that Ray's package leaves out
PROVIDER = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
TOLD = {"RAY_enable_autoscaler_v2": "1", "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1",
        "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}  # fmt: skip

# what defaults of a cloud would fill in
EMPTY = ("cluster_synced_files", "initialization_commands", "setup_commands", "head_setup_commands",
         "worker_setup_commands", "head_start_ray_commands", "worker_start_ray_commands")  # fmt: skip


def settings(port: int) -> dict:
    """cluster.yaml's pools with machines of two CPUs."""
    cluster = read(ROOT / "cluster.yaml")
    kinds: dict[str, dict] = {"ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}}
    for name, kind in workers(cluster).items():
        kept = {word: kind[word] for word in ("priority", "min_workers", "max_workers") if word in kind}
        kinds[name] = {**kept, "resources": {**kind["resources"], "CPU": 2}, "node_config": {},
                       "labels": {**kind["labels"], "pool": name}}  # fmt: skip
    provider = {"type": "external", "module": PROVIDER, "launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID,
                "gcs_address": f"127.0.0.1:{port}"}  # fmt: skip
    return {**{name: cluster[name] for name in ("cluster_name", "max_workers", "upscaling_speed")},
            "idle_timeout_minutes": 5, "head_node_type": "ray.head.default", "available_node_types": kinds,
            "provider": provider, **{name: [] for name in EMPTY}}  # fmt: skip


@pytest.fixture(scope="module")
def growing():
    """Environment of a head without CPUs and with that autoscaler."""
    port = free_port()
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
                   "RAY_AUTH_MODE": "token", "RAY_ADDRESS": f"127.0.0.1:{port}"}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "cluster.json").write_text(json.dumps(settings(port)))
        command = ["ray", "start", "--head", "--block", "--num-cpus=0", f"--port={port}", "--node-ip-address=127.0.0.1",
                   f"--autoscaling-config={folder}/cluster.json", f"--temp-dir={folder}", "--dashboard-host=127.0.0.1",
                   f"--dashboard-port={free_port()}", f"--ray-client-server-port={free_port()}",
                   f"--dashboard-agent-listen-port={free_port()}"]  # fmt: skip
        with (Path(folder) / "head.log").open("w") as log:
            process = subprocess.Popen(command, env={**environment, **TOLD}, stdout=log, stderr=log,
                                       start_new_session=True)  # fmt: skip
        try:
            deadline = time.time() + 240
            while not (alone := nodes(environment)):
                assert process.poll() is None and time.time() < deadline, (Path(folder) / "head.log").read_text()
                time.sleep(1)
            assert [node["Resources"].get("CPU", 0) for node in alone] == [0]
            yield environment
        finally:
            process.terminate()
            process.wait(60)
            for left in psutil.process_iter(["cmdline"]):  # machines outlive who started them
                if folder in " ".join(left.info["cmdline"] or []):
                    left.kill()


def nodes(environment: dict) -> list[dict]:
    """The nodes as one who joins the cluster sees them; none while it is not there."""
    code = "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR'); print(json.dumps(ray.nodes()))"
    done = subprocess.run(
        ["timeout", "120", sys.executable, "-c", code], env=environment, capture_output=True, text=True
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("[{")]  # Ray may say something too
    return [node for line in told for node in json.loads(line) if node["Alive"]]


@pytest.mark.timeout(500)
def test_work_on_a_head_without_cpus_makes_a_spot_machine_start(growing, tmp_path):
    command = ["timeout", "240", BIN / "raysign", "prepare", "configs/demo.yaml", "source.glosses=2", "source.takes=1"]
    done = subprocess.run([*command, f"out={tmp_path}/out"], cwd=ROOT, env=growing, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("out/clips/*/card.json"))
    came = [node["Labels"] for node in nodes(growing) if node["Resources"].get("CPU")]
    assert {(labels["pool"], labels["raysign/role"]) for labels in came} == {("extract_spot", "extract")}
