"""Models in the formats of other tools say what the model says."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from toolkit.config import PRESETS, RunOptions
from toolkit.errors import ModelError
from toolkit.models import WALS, export_tutorial


def fitted(ratings, bias="full", dtype="float64", **ids):
    scale = "none" if bias == "none" else "standard"
    config = PRESETS["default"].replace(factors=3, iterations=3, bias=bias, scale=scale)
    return WALS(config, RunOptions(dtype=dtype, threads=1)).fit(ratings, **ids)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("bias", "columns"), [("none", 3), ("mean", 5), ("full", 5)])
def test_product_of_the_tutorials_arrays_is_the_models_prediction(
    made_up_ratings, tmp_path, bias, columns, dtype
):
    ratings = made_up_ratings()
    model = fitted(ratings, bias, dtype)
    shapes = export_tutorial(model, tmp_path / "out")
    row, col = np.load(tmp_path / "out" / "row.npy"), np.load(tmp_path / "out" / "col.npy")
    assert shapes == {"row": (15, columns), "col": (11, columns), "user": (15,), "item": (11,)}
    assert (row.shape, col.shape, row.dtype, col.dtype) == (shapes["row"], shapes["col"], dtype, dtype)
    users, items = np.divmod(np.arange(15 * 11), 11)
    expected = model.predict(users, items, clip=False).reshape(15, 11)
    np.testing.assert_allclose(row @ col.T, expected, rtol=1e-12 if dtype == "float64" else 1e-5)


READ = """
import sys
sys.modules.update(dict.fromkeys(["toolkit", "scipy", "pandas"]))  # None: importing it fails
import numpy as np
row, col, user, item = (np.load(f"{sys.argv[1]}/{name}.npy") for name in ("row", "col", "user", "item"))
print(float(row[list(user).index("u3")] @ col[list(item).index("i 4")]))
"""


def test_files_are_read_with_numpy_alone(made_up_ratings, tmp_path):
    model = fitted(
        made_up_ratings(),
        user_ids=[f"u{n}" for n in range(15)],
        item_ids=np.array([f"i {n}" for n in range(11)], dtype=object),
    )
    export_tutorial(model, tmp_path / "out")
    command = [sys.executable, "-c", READ, str(tmp_path / "out")]
    # In a folder of its own, so that no package of ours is at hand.
    shown = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=os.environ)
    assert float(shown.stdout) == pytest.approx(model.predict("u3", "i 4")[0], rel=1e-12)


def test_loaded_model_exports_the_same_arrays(made_up_ratings, tmp_path):
    model = fitted(made_up_ratings())
    model.save(tmp_path / "model")
    export_tutorial(model, tmp_path / "a")
    export_tutorial(WALS.load(tmp_path / "model"), tmp_path / "b")
    for name in ("row", "col", "user", "item"):
        np.testing.assert_array_equal(
            np.load(tmp_path / "a" / f"{name}.npy"), np.load(tmp_path / "b" / f"{name}.npy")
        )


def test_existing_export_is_replaced_only_on_request(made_up_ratings, tmp_path):
    model = fitted(made_up_ratings())
    export_tutorial(model, tmp_path / "out")
    with pytest.raises(ModelError, match="exists already"):
        export_tutorial(model, tmp_path / "out")
    export_tutorial(model, tmp_path / "out", overwrite=True)


def test_directory_of_other_things_is_not_overwritten(made_up_ratings, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ModelError, match="holds other things"):
        export_tutorial(fitted(made_up_ratings()), tmp_path, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
