"""What many tests share: one Ray cluster of two CPUs, an object store, the folder of real recordings."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

# before anything imports ray: no token file in the home directory, no usage statistics, tests never join a cluster
# nor tell a server of the machine's owner
os.environ.setdefault("RAY_AUTH_TOKEN", "raysign-tests-" + "0" * 32)
os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
os.environ.pop("RAY_ADDRESS", None)
os.environ.pop("MLFLOW_TRACKING_URI", None)


@pytest.fixture(scope="session")
def cluster():
    """A Ray cluster of 2 CPUs on this machine, ended with the test session."""
    import ray

    from raysign import config, engine

    engine.connect(config.load(["source.kind=synthetic", "ray.cpus=2"]).ray, dashboard=True)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def bucket(tmp_path_factory) -> Iterator[dict[str, str]]:
    """What the environment of a process must say for s3://raysign, a bucket of a server on this machine."""
    from pyarrow import fs

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    said = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}", "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "anyone", "AWS_SECRET_ACCESS_KEY": "anything"}  # fmt: skip
    command = [Path(sys.executable).with_name("moto_server"), "-H", "127.0.0.1", "-p", str(port)]
    with (tmp_path_factory.mktemp("bucket") / "server.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        for _ in range(120):
            with socket.socket() as s:
                if not s.connect_ex(("127.0.0.1", port)):
                    break
            time.sleep(0.5)
        files = fs.S3FileSystem(
            endpoint_override=f"127.0.0.1:{port}", scheme="http", region="us-east-1", access_key="anyone",
            secret_key="anything", allow_bucket_creation=True,
        )  # fmt: skip
        files.create_dir("raysign")
        yield said
    finally:
        process.terminate()
        process.wait(30)


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> dict:
    """Kind of source -> how to read the small sample of it; tests that change one change a copy."""
    from made_sources import samples

    return samples(tmp_path_factory.mktemp("samples"))


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real recordings that RAYSIGN_TEST_DATA names."""
    folder = os.environ.get("RAYSIGN_TEST_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("RAYSIGN_TEST_DATA does not name a folder of real recordings")
    return Path(folder)


# ---------------------------------------------------------------- a bundle and what it can be asked: made_bundles.py


@pytest.fixture(scope="module")
def bundle():
    """A small untrained recogniser."""
    import made_bundles

    return made_bundles.untrained()


@pytest.fixture(scope="module")
def bundle_dir(bundle, tmp_path_factory) -> Path:
    """The folder it is saved in."""
    directory = tmp_path_factory.mktemp("bundle")
    bundle.save(directory)
    return directory


@pytest.fixture(scope="module")
def landmarks_dir(tmp_path_factory) -> Path:
    """Landmarks it can be asked about, and a row in quarantine."""
    import made_bundles

    return made_bundles.stored(tmp_path_factory.mktemp("landmarks"))


@pytest.fixture(scope="module")
def clips_dir(landmarks_dir, tmp_path_factory) -> Path:
    """The clips of these landmarks."""
    import made_bundles

    return made_bundles.prepared(landmarks_dir, tmp_path_factory.mktemp("clips"))
