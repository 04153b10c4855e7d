"""jobs/rayjob.yaml: KubeRay takes it, and its command is one of raysign."""

import copy
import json
import re
import shlex
from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator, ValidationError

from raysign import config
from raysign.cli import main

ROOT = Path(__file__).parents[1]
SCHEMA = Draft202012Validator(json.loads((ROOT / "tests" / "kuberay_rayjob.json").read_text()))


@pytest.fixture
def job() -> dict:
    return yaml.safe_load((ROOT / "jobs" / "rayjob.yaml").read_text())


def groups(job: dict) -> list[dict]:
    cluster = job["spec"]["rayClusterSpec"]
    return [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]


def container(group: dict) -> dict:
    (only,) = group["template"]["spec"]["containers"]
    return only


def test_kuberay_takes_the_job_and_no_other_word_in_it(job):
    SCHEMA.validate(job)
    for change in (lambda it: it["spec"].update(entryPoint="x"), lambda it: container(groups(it)[1]).update(imgae="x"),
                   lambda it: groups(it)[1].update(maxReplicas="8")):  # fmt: skip
        wrong = copy.deepcopy(job)
        change(wrong)
        with pytest.raises(ValidationError):
            SCHEMA.validate(wrong)


def test_its_command_is_one_that_raysign_knows(job, monkeypatch):
    monkeypatch.chdir(ROOT)
    program, verb, *words = shlex.split(job["spec"]["entrypoint"].replace("/raysign/", ""))
    assert (program, verb in main.commands) == ("raysign", True)
    settings = config.load(words)
    shared = container(groups(job)[0])["volumeMounts"][0]["mountPath"]
    assert settings.home.is_relative_to(shared)


def test_every_node_has_the_image_the_volume_and_the_ray_of_the_job(job):
    head, *others = groups(job)
    for group in others:
        assert {name: container(group)[name] for name in ("image", "env", "volumeMounts")} == {
            name: container(head)[name] for name in ("image", "env", "volumeMounts")
        }
        assert group["template"]["spec"]["volumes"] == head["template"]["spec"]["volumes"]
        assert group["minReplicas"] == group["replicas"] == 0 < group["maxReplicas"]
    pinned = re.search(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    assert pinned and job["spec"]["rayClusterSpec"]["rayVersion"] == pinned[1]
    volume = yaml.safe_load((ROOT / "jobs" / "rayjob_volume.yaml").read_text())
    claims = [it["persistentVolumeClaim"]["claimName"] for it in head["template"]["spec"]["volumes"]]
    assert claims == [volume["metadata"]["name"]]
    assert volume["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_head_does_no_work_and_its_cluster_asks_for_a_token(job):
    assert groups(job)[0]["rayStartParams"]["num-cpus"] == "0"
    assert job["spec"]["rayClusterSpec"]["authOptions"] == {"mode": "token"}
    assert any("nvidia.com/gpu" in container(group)["resources"]["limits"] for group in groups(job))
