"""Fixtures of several test files: the array backends, made-up ratings, and MovieLens where it is at hand."""

from __future__ import annotations

import surroundings  # noqa: F401  before what it is about is imported

# isort: split
import atexit
import contextlib
import functools
import gc
import gzip
import importlib
import importlib.util
import os
import shutil
from pathlib import Path

import forks
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import settings

from toolkit.backends import Backend, cupy_problem
from toolkit.config import GPU_BACKENDS

# Until all is imported there is next to no garbage; looking for it costs each process a second.
gc.disable()

# Where CuPy is not installed, no test of it is collected.
INSTALLED = ("numpy", "numba", *(GPU_BACKENDS if importlib.util.find_spec("cupy") else ()))
REPO_ROOT = Path(__file__).resolve().parent.parent

# A slow machine is no failure; print_blob lets a failure seen in CI be repeated at a desk. `make test-all`
# asks for the profile with many examples; tests whose examples are costly take a share of the number.
settings.register_profile("walslab", deadline=None, print_blob=True, max_examples=10)
settings.register_profile("many", settings.get_profile("walslab"), max_examples=200)
settings.load_profile("walslab")


def pytest_addoption(parser):
    parser.addoption(
        "--backend",
        choices=("numpy", "numba", *GPU_BACKENDS, "all"),
        default="all",
        help="array backend under test. all (default): those that are installed; tests of cupy and cuda are "
        "listed as skipped where no device answers. cupy, cuda: a missing device is a failure, so that no "
        "GPU job can pass without one",
    )


def pytest_configure(config):
    """Spare the processes of ``pytest -n`` waiting for a disk, and compiling the same bytecode."""
    # `make test-all` writes to a disk.
    memory = Path("/dev/shm")
    processes = config.getoption("numprocesses", None)
    if processes and memory.is_dir() and shutil.disk_usage(memory).free > 4 << 30:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))
    worker = getattr(config, "workerinput", None)
    if worker and [*map(Path, config.args)] == [REPO_ROOT / "tests"]:
        import_share(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


def import_share(number, count):
    """Import every so many test files before all are collected.

    A fresh clone has no bytecode. Processes that import everything in one order compile all of it each.
    """
    for path in sorted((REPO_ROOT / "tests").glob("test_*.py"))[number::count]:
        # What cannot be imported is told when it is collected.
        with contextlib.suppress(Exception, pytest.skip.Exception):
            importlib.import_module(path.stem)


def pytest_generate_tests(metafunc):
    if "backend_name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--backend")
        names = INSTALLED if chosen == "all" else (chosen,)
        params = [pytest.param(n, marks=pytest.mark.gpu) if n in GPU_BACKENDS else n for n in names]
        metafunc.parametrize("backend_name", params, scope="session")


def starts_ray(path):
    """Return whether tests of a file start Ray, whose processes keep the machine busy for a while."""
    return Path(path).stem in {
        "test_cluster",
        "test_on_ray",
        "test_search_faults",
        "test_trainable_on_ray",
        "test_tune",
    }


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Share the tests among the processes of ``pytest -n``, each file whole, as its fixtures are.

    Files whose tests start Ray are one share: these run one after the other, whatever runs beside them.
    """
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            path = nodeid.partition("::")[0]
            return "ray" if starts_ray(path) else path

    config.option.loadscopereorder = False
    return Scheduling(config, log)


def pytest_collection_modifyitems(items):
    """In the processes of ``pytest -n``, begin with what takes longest."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=lambda item: not starts_ray(item.path))


def pytest_collection_finish():
    """Spare the garbage collector the million objects of all that is imported, now and at the end."""
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)
    gc.enable()
    atexit.register(gc.freeze)


def pytest_sessionfinish():
    forks.close()


@pytest.fixture(scope="session")
def backend(backend_name, request):
    """The array backend under test, on one thread; a test that asks for it runs once for each backend."""
    if backend_name in GPU_BACKENDS and request.config.getoption("--backend") == "all":
        problem = cupy_problem()
        if problem:
            pytest.skip(problem)
    return Backend.require(backend_name, threads=1)


def made_up_ratings(
    n_users=15,
    n_items=11,
    *,
    rank=2,
    density=0.4,
    noise=0.3,
    empty_users=(),
    empty_items=(),
    whole=False,
    seed=0,
):
    """Return ratings as CSR: planted low-rank structure and biases, noise, rows and columns without ratings.

    Every user and item that is not listed as empty has at least one rating. With `whole` ratings are rounded
    to 1..5, as people give them.
    """
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((n_users, rank)), rng.standard_normal((n_items, rank))
    ratings = 3.5 + 0.4 * rng.standard_normal((n_users, 1)) + 0.4 * rng.standard_normal((1, n_items))
    ratings = ratings + 0.7 * x @ y.T / np.sqrt(rank) + noise * rng.standard_normal((n_users, n_items))
    if whole:
        ratings = np.clip(np.rint(ratings), 1, 5)
    observed = rng.random((n_users, n_items)) < density
    users = np.setdiff1d(np.arange(n_users), empty_users)
    items = np.setdiff1d(np.arange(n_items), empty_items)
    observed[users, rng.choice(items, len(users))] = True
    observed[rng.choice(users, len(items)), items] = True
    observed[list(empty_users)] = False
    observed[:, list(empty_items)] = False
    rows, columns = np.nonzero(observed)
    return sp.csr_matrix((ratings[rows, columns], (rows, columns)), shape=observed.shape)


@pytest.fixture(name="made_up_ratings", scope="session")
def made_up_ratings_fixture():
    """The function that makes ratings up."""
    return made_up_ratings


@pytest.fixture(scope="session")
def repo_root():
    """The folder that holds the packages."""
    return REPO_ROOT


def read_movielens(path):
    """Return a MovieLens file of whole-number ratings as a COO matrix, rows and columns by ascending id."""
    raw = path.read_bytes()
    if path.suffix == ".gz":
        raw = gzip.decompress(raw)
    text = raw.replace(b"::", b" ").decode("ascii")
    # Some copies come without the timestamp, the fourth column.
    n_columns = len(text.partition("\n")[0].split())
    user, item, rating = np.array(text.split(), dtype=np.int64).reshape(-1, n_columns).T[:3]
    users, rows = np.unique(user, return_inverse=True)
    items, columns = np.unique(item, return_inverse=True)
    return sp.coo_matrix((rating.astype(np.float32), (rows, columns)), shape=(len(users), len(items)))


def _movielens(*places):
    for path in places:
        if path.is_file():
            return read_movielens(path)
    return pytest.skip(f"MovieLens is not at hand: none of {', '.join(map(str, places))} exists")


@pytest.fixture(scope="session")
def movielens_100k():
    """The 100,000 ratings of MovieLens 100K; skips the test where they are not at hand."""
    return _movielens(REPO_ROOT / "data" / "ml-100k" / "u.data")


@pytest.fixture(scope="session")
def movielens_1m():
    """The 1,000,209 ratings of MovieLens 1M; skips the test where they are not at hand."""
    parts = ("ml-1m", "ratings.dat.gz")
    return _movielens(REPO_ROOT.joinpath("data", *parts), REPO_ROOT.parent.joinpath("shared", "data", *parts))


@pytest.fixture
def settings_put_back():
    """What `connected` sets for Ray in the environment is put back: other tests use Ray as it is."""
    from toolkit.files import process_settings

    with process_settings():
        yield


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    """The file of an MLflow store that holds nothing, for copies: MLflow takes seconds to make one."""
    import mlflow
    from mlflow import MlflowClient
    from mlflow.store.db import utils
    from mlflow.utils import requirements_utils

    # For the first model that a process writes, MLflow would list the files of every package there is.
    requirements_utils._MODULES_TO_PACKAGES = {}
    # For each store that is opened, MLflow would read all of its migrations for the number of the last.
    utils._get_latest_schema_revision = functools.cache(utils._get_latest_schema_revision)
    # That of an earlier run serves again, as bytecode does.
    kept = REPO_ROOT / ".pytest_cache" / f"mlflow-{mlflow.__version__}.db"
    if not kept.exists():
        path = tmp_path_factory.mktemp("store") / "mlflow.db"
        MlflowClient(f"sqlite:///{path}").search_experiments()
        kept.parent.mkdir(exist_ok=True)
        copy = kept.with_name(f"{kept.name}.{os.getpid()}")
        shutil.copyfile(path, copy)
        copy.replace(kept)
    return kept


@pytest.fixture(scope="module")
def short_search():
    """The baselines choose one of two penalties: the whole search reads shards more often than a training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.solver.baselines._DAMPINGS", (1.0, 3.0))
        yield


@pytest.fixture
def undrawn(monkeypatch):
    """Studies end without their report, posteriors without a picture: each takes a second of a processor."""
    monkeypatch.setattr("tune.report.write_report", lambda *_, **__: [])
    monkeypatch.setattr("tune.report.calibration_picture", lambda *_: "<svg/>")


@pytest.fixture
def memory():
    """A store in memory, as fsspec sees it; empty."""
    import fsspec

    store = fsspec.filesystem("memory")
    store.store.clear()
    yield store
    store.store.clear()


@pytest.fixture(scope="module")
def object_store():
    """The address of a server that speaks S3, which the environment says, too."""
    import s3fs
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "somebody",
            "AWS_SECRET_ACCESS_KEY": "something",
            "AWS_DEFAULT_REGION": "us-east-1",
            # Nothing of the person who runs the tests.
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",
        }.items():
            patch.setenv(name, value)
        patch.delenv("AWS_PROFILE", raising=False)
        s3fs.S3FileSystem.clear_instance_cache()
        yield address
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture
def s3(object_store):
    """A new bucket, as s3fs sees it."""
    import fsspec

    store = fsspec.filesystem("s3")
    store.mkdir("bucket")
    yield store
    store.rm("bucket", recursive=True)
