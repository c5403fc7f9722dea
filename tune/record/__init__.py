"""The record of a study in MLflow: the store, the runs, and the one writer."""
