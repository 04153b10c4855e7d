"""Work on a cluster with cluster.yaml's pools makes machines start, of the kind that is preferred."""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from test_cluster import ROOT, read, workers
from test_jobs import BIN, free_port


@pytest.fixture(scope="module")
def growing():
    """Environment of a head whose autoscaler has cluster.yaml's pools; its machines are processes of this one."""
    from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID

    cluster, port = read(ROOT / "cluster.yaml"), free_port()
    kinds = {name: {**kind, "node_config": {}} for name, kind in workers(cluster).items()}
    for kind in kinds.values():
        kind["resources"]["CPU"] = 2
        kind.pop("worker_setup_commands", None)
    # the name and the number of the head are what this provider of Ray's expects
    kinds["ray.head.default"] = {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0}
    settings = {**{name: cluster[name] for name in ("cluster_name", "max_workers", "upscaling_speed")},
                "idle_timeout_minutes": 1, "head_node_type": "ray.head.default", "available_node_types": kinds,
                "provider": {"type": "fake_multinode", "launch_multiple": True, "head_node_id": FAKE_HEAD_NODE_ID,
                             "gcs_address": f"127.0.0.1:{port}"}}  # fmt: skip
    environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", "RAY_AUTH_MODE": "token",
                   "PYTHONPATH": str(ROOT)}  # fmt: skip
    told = {"RAY_enable_autoscaler_v2": "1", "RAY_FAKE_CLUSTER": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1",
            "RAY_CLOUD_INSTANCE_ID": FAKE_HEAD_NODE_ID,
            "RAY_OVERRIDE_NODE_ID_FOR_TESTING": FAKE_HEAD_NODE_ID}  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as folder:
        (Path(folder) / "cluster.json").write_text(json.dumps(settings))
        command = ["ray", "start", "--head", "--block", "--num-cpus=0", f"--port={port}", "--node-ip-address=127.0.0.1",
                   f"--autoscaling-config={folder}/cluster.json", f"--temp-dir={folder}", "--dashboard-host=127.0.0.1",
                   f"--dashboard-port={free_port()}", f"--ray-client-server-port={free_port()}",
                   f"--dashboard-agent-listen-port={free_port()}"]  # fmt: skip
        with (Path(folder) / "head.log").open("w") as log:
            process = subprocess.Popen(command, env={**environment, **told}, stdout=log, stderr=log,
                                       start_new_session=True)  # fmt: skip
        environment["RAY_ADDRESS"] = f"127.0.0.1:{port}"
        try:
            deadline = time.time() + 120
            while not nodes(environment):
                assert process.poll() is None and time.time() < deadline, (Path(folder) / "head.log").read_text()
                time.sleep(1)
            yield environment
        finally:
            process.terminate()
            process.wait(60)


def nodes(environment: dict) -> list[dict]:
    """Labels and resources of the nodes, as one who joins the cluster sees them."""
    code = "import json, ray; ray.init(log_to_driver=False, logging_level='ERROR'); print(json.dumps(ray.nodes()))"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    found = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else []
    return [node for node in found if node["Alive"]]


@pytest.mark.timeout(400)
def test_work_on_a_head_without_cpus_makes_a_spot_machine_start(growing, tmp_path):
    assert [node["Resources"].get("CPU", 0) for node in nodes(growing)] == [0]
    done = subprocess.run([BIN / "raysign", "prepare", "configs/demo.yaml", "source.glosses=2", "source.takes=1",
                           f"out={tmp_path}/out"], cwd=ROOT, env=growing, capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.glob("out/clips/*/card.json"))
    came = [node for node in nodes(growing) if node["Resources"].get("CPU")]
    assert {node["Labels"]["ray.io/node-group"] for node in came} == {"extract_spot"}
    assert {node["Labels"]["raysign/role"] for node in came} == {"extract"}
