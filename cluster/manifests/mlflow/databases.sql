-- Run once, when the PostgreSQL server is new. Users and permissions have a database of their own, next to `mlflow`.
CREATE DATABASE mlflow_auth OWNER mlflow;
