"""What many tests share: one Ray cluster of two CPUs, the folder of real recordings, and hermetic caches."""

import os
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

    engine.connect(config.Ray(address=None, cpus=2), dashboard=True)
    yield
    ray.shutdown()


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
