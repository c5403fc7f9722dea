#!/bin/sh
# Turns MovieLens 100K into a tuned and tested model, on this machine alone.
#
# Run it in any folder where walslab is installed. Its files stay there: data/, studies/, mlflow.db and mlruns/. A second run
# keeps the downloaded ratings and the dataset, and makes a new study.
set -eu

dataset=data/ml-100k/dataset
study=demo-$(date +%Y%m%d-%H%M%S)

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

step walslab fetch ml-100k
if [ ! -f "$dataset/manifest.json" ]; then
    step walslab ingest data/ml-100k/u.data --out "$dataset"
fi
step walslab tune "$dataset" --name "$study"
# GroupLens calls it u.item, the package index ml-100k.item.
for titles in data/ml-100k/*.item; do break; done
step walslab refit "$study" --titles "$titles" --register demo --alias champion
step walslab recommend "studies/$study/model" --user 196 -n 5 --explain
step walslab similar "studies/$study/model" --item 50 -n 3

cat <<END

Next, from this folder ($PWD):

  compare the trials       $(command -v walslab) ui $study
                           which opens MLflow's page on them, best first, until Ctrl-C
  recommend for all        $(command -v walslab) recommend studies/$study/model --all-users --out recommendations.parquet
  serve the best so far    MLFLOW_TRACKING_URI=sqlite:///mlflow.db $(command -v mlflow) models serve \\
                               -m models:/demo@champion --env-manager local --port 5001
  list the trials again    $(command -v walslab) results $study
  run it on a cluster      $(command -v walslab) submit --address http://HEAD:8265 -- tune $PWD/$dataset
                           with HEAD the head node of a Ray cluster that sees this path, and MLFLOW_TRACKING_URI set to
                           a server; --dry-run shows the equal ray job submit line
END
