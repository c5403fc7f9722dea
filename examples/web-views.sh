#!/bin/sh
# Makes recommendations from web views: makes events up, adds them up by pair, takes the logarithm, and tunes how well the
# contents are ranked. docs/web-views.md explains each step.
#
#   sh web-views.sh [CLIENTS [TRIALS]]
#
# Run it in any folder where walslab is installed. Its files stay there: three CSV files, views/, studies/, mlflow.db and
# mlruns/. A second run keeps the dataset and makes a new study.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
clients=${1:-2000}
trials=${2:-16}
study=views-$(date +%Y%m%d-%H%M%S)

step() { printf '\n\033[1m$ %s\033[0m\n' "$*"; "$@"; }

if [ ! -f views/manifest.json ]; then
    step python3 "$here/web_views.py" --clients "$clients"
    step walslab ingest views.csv --columns clientId,contentId,seconds --aggregate sum --transform log1p \
        --split per-user --out views
fi
step walslab describe views
step walslab tune views --spec "$here/web-views.yaml" --trials "$trials" --in-process --name "$study"
step walslab refit "$study"
client=$(sed -n '2s/,.*//p' clients.csv)
step walslab recommend "studies/$study/model" --user "$client" -n 5 --titles contents.csv

printf '\nThe topics planted in this client: %s\n' "$(sed -n '2s/^[^,]*,//p' clients.csv)"
