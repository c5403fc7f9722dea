#!/bin/sh
# All that a machine with a GPU is to be asked, in one go of at most eight minutes.
#
#   benchmarks/gpu_once.sh              on a machine with a GPU
#   benchmarks/gpu_once.sh --dry-run    every step at a small size, on a stand-in for the GPU (tests/on_stand_in.py)
#
# PYTHON (python3) needs NumPy, SciPy, CuPy, pytest and hypothesis. What else a step would use is looked for: pytest-xdist,
# compute-sanitizer, implicit, and Ray, MLflow and Optuna. Each step has a limit of its own, and the next one begins
# whatever came of it. Full logs go to $OUT, or to ./gpu-logs: eight files at most. The summary comes last, in at most 12,000
# characters.
set -u

cd "$(dirname "$0")/.." || exit 2
OUT=${OUT:-$PWD/gpu-logs}
PYTHON=${PYTHON:-python3}
mkdir -p "$OUT"
SUMMARY=$OUT/summary.txt
: >"$SUMMARY"
PYTHONPATH=$PWD${PYTHONPATH:+:$PYTHONPATH}
PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 OPENBLAS_NUM_THREADS=1
# All processes share what one of them has compiled.
CUPY_CACHE_DIR=${CUPY_CACHE_DIR:-$(mktemp -d)}
export PYTHONPATH PYTHONUNBUFFERED PYTHONDONTWRITEBYTECODE OPENBLAS_NUM_THREADS CUPY_CACHE_DIR

whole=470
began=$(date +%s)
if [ "${1:-}" = --dry-run ]; then
    run="$PYTHON tests/on_stand_in.py" ranks=5 kernel_ranks=5 ratings=3000 rounds=1 trials=2 limit_of=20 whole=3600
    compiled=5 sizes=3000 crossed=5 factors=5-5 names=top_n studies="--dry-run"
else
    run=$PYTHON ranks=16,34,64,128,256 kernel_ranks=5,34,64,128,256 ratings=20000263 rounds=3 trials=500 limit_of=1
    # Files that need no more than the packages named above; the others have no test of a backend that these lack.
    names="backend device objective pattern sampler solver top_n trainer"
    compiled=5,8-64,128,256 sizes=100000,1000000 crossed=16,64,128 factors=8-64 studies="--made-up 1000000 --trials 100"
fi

has() { $PYTHON -c 'import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in sys.argv[1:]))' "$@"; }

# step LOG SECONDS LINES COMMAND...: its output goes to a log, and its last lines to the summary.
step() {
    log=$OUT/$1.log seconds=$(($2 * limit_of)) lines=$3
    shift 3
    left=$((whole - $(date +%s) + began))
    [ "$seconds" -gt "$left" ] && seconds=$left
    {
        echo
        echo "== $*"
    } | tee -a "$log" >>"$SUMMARY"
    if [ "$seconds" -lt 5 ]; then
        echo "-- left out: no time is left" | tee -a "$log" >>"$SUMMARY"
        return
    fi
    part=$(mktemp)
    since=$(date +%s)
    timeout -k 5 "$seconds" "$@" >"$part" 2>&1
    code=$?
    cat "$part" >>"$log"
    tail -n "$lines" "$part" | cut -c 1-180 >>"$SUMMARY"
    rm -f "$part"
    [ "$code" = 124 ] && code="124, stopped at its limit of $seconds s"
    echo "-- exit $code after $(($(date +%s) - since)) s" | tee -a "$log" >>"$SUMMARY"
    echo "$(($(date +%s) - began)) s: $1 ${2:-} ${3:-}: exit $code"
}

# ---------------------------------------------------------------------------- what there is

if command -v nvidia-smi >/dev/null; then
    query=name,driver_version,memory.total,memory.used,clocks.sm,clocks.max.sm,power.limit,mig.mode.current
    step environment 20 3 nvidia-smi --query-gpu=$query --format=csv
fi
step environment 60 6 $run benchmarks/gpu_card.py

# ---------------------------------------------------------------------------- is it right

step kernels 45 6 $run benchmarks/gpu_compile.py --ranks $compiled
step kernels 50 26 $run benchmarks/gpu_kernels.py --ranks $kernel_ranks
files=$(for name in $names; do echo "tests/test_$name.py"; done)
many="-p no:xdist"
[ "$run" = "$PYTHON" ] && has xdist && many="-n 8"
# Other plugins and versions are there than in .venv: a warning of theirs is no failure of ours.
plain="-q --tb=short -p no:cacheprovider -p no:benchmark -W default"
for backend in cuda cupy; do
    step pytest 75 10 $run -m pytest $plain $many --backend $backend -m gpu $files
done
if command -v compute-sanitizer >/dev/null; then
    for tool in memcheck racecheck; do
        step sanitizer 40 8 compute-sanitizer --tool $tool --error-exitcode 9 \
            $run benchmarks/gpu_kernels.py --ranks 34,64,256 --own-allocations
    done
else
    echo "
== compute-sanitizer is not installed: no check of memory and races" >>"$SUMMARY"
fi

# ---------------------------------------------------------------------------- how fast is it

step solver 120 60 $run benchmarks/gpu_solver.py --ratings $ratings --ranks $ranks --rounds $rounds --implicit
step search 90 5 $run benchmarks/gpu_search.py --made-up $ratings --trials $trials --executors trainers --seconds $((30 * limit_of)) \
    --factors $factors
if has ray mlflow optuna pydantic; then
    step studies 90 8 $PYTHON benchmarks/gpu_search.py $studies
else
    echo "
== Ray, MLflow, Optuna or pydantic is not installed: no study, and no fractions of a GPU" >>"$SUMMARY"
fi

# Who is fastest: a table for docs/cuda.md. Numba compiles anew there, which takes a while.
step solver 60 10 $run benchmarks/gpu_solver.py --crossover $sizes --ranks $crossed --rounds $rounds

echo
if [ "$(wc -c <"$SUMMARY")" -le 11800 ]; then
    cat "$SUMMARY"
else
    head -c 4000 "$SUMMARY"
    echo "
[…]"
    tail -c 7700 "$SUMMARY"
fi
