"""WALS among scikit-learn's tools: its checks of estimators, and its searches on a table of ratings."""

from __future__ import annotations

import pickle
import warnings
from importlib.util import find_spec

import numpy as np
import pandas as pd
import pytest
from small_models import CONFIG, OPTIONS

from toolkit.models import WALS

# Imported by its tests alone: it takes a second, and each process of ``pytest -n`` collects this file.
pytestmark = pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is not installed")

# docs/python.md says the same in words.
NOT_OURS = {
    "fit takes ratings: a table, a sparse matrix or a dataset, and not a dense X and a y": (
        "check_fit_score_takes_y",
        "check_estimators_overwrite_params",
        "check_dont_overwrite_parameters",
        "check_estimators_fit_returns_self",
        "check_readonly_memmap_input",
        "check_n_features_in_after_fitting",
        "check_positive_only_tag_during_fit",
        "check_estimators_dtypes",
        "check_complex_data",
        "check_dtype_object",
        "check_estimators_empty_data_messages",
        "check_pipeline_consistency",
        "check_estimators_nan_inf",
        "check_estimator_sparse_tag",
        "check_estimator_sparse_array",
        "check_estimator_sparse_matrix",
        "check_estimators_pickle",
        "check_f_contiguous_array_estimator",
        "check_methods_sample_order_invariance",
        "check_methods_subset_invariance",
        "check_fit2d_1sample",
        "check_fit2d_1feature",
        "check_dict_unchanged",
        "check_fit_idempotent",
        "check_fit_check_is_fitted",
        "check_n_features_in",
        "check_fit1d",
        "check_fit2d_predict1d",
    ),
    "predict takes users and items, and not an X": ("check_estimators_unfitted",),
    "a value out of range is refused where it is given, and not at the next fit": (
        "check_do_not_raise_errors_in_init_or_set_params",
        "check_do_not_raise_errors_in_init_or_set_param",
    ),
}
OURS = {
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_estimator_tags_renamed",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
    "check_valid_tag_types",
}


@pytest.fixture
def frame(made_up_ratings):
    coo = made_up_ratings(40, 25, density=0.4).tocoo()
    return pd.DataFrame({"user": coo.row, "item": coo.col, "rating": coo.data})


def test_the_checks_of_scikit_learn_that_make_sense_pass():
    from sklearn.utils import estimator_checks as checks

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checks.check_estimator(WALS(backend="numpy", threads=1), on_fail=None, on_skip=None)
    failed = {check["check_name"] for check in found if check["status"] == "failed"}
    passed = {check["check_name"] for check in found if check["status"] == "passed"}
    assert failed <= {name for names in NOT_OURS.values() for name in names}
    assert passed >= OURS


def test_a_search_of_scikit_learn_runs_on_a_table(frame):
    from sklearn import model_selection as selection

    folds = selection.KFold(3, shuffle=True, random_state=0)
    search = selection.GridSearchCV(WALS(CONFIG, OPTIONS), {"regularization": [0.05, 100.0]}, cv=folds)
    search.fit(frame)
    assert search.best_params_ == {"regularization": 0.05}
    assert search.best_estimator_.score(frame) == -search.best_estimator_.rmse(frame)
    assert len(search.best_estimator_.recommend(frame["user"][0], 3)[0]) == 3
    train, held_out = next(folds.split(frame))
    model = WALS(CONFIG, OPTIONS).set_params(regularization=0.05).fit(frame.iloc[train])
    expected = -model.rmse(frame.iloc[held_out], unknown="average")
    assert search.cv_results_["split0_test_score"][0] == pytest.approx(expected)


def test_scikit_learn_knows_whether_a_model_is_fitted(frame):
    from sklearn import exceptions
    from sklearn.utils import validation

    model = WALS(CONFIG, OPTIONS)
    with pytest.raises(exceptions.NotFittedError):
        validation.check_is_fitted(model)
    assert validation.check_is_fitted(model.fit(frame)) is None
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(frame["user"], 3), model.predict(frame["user"], 3))
