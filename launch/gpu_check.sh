#!/bin/bash
# What a first quarter of an hour on a GPU shows: speed beside other encoders,
# two trainings with large batches, and full-length reviews.
#
#   [OUT=gpu-check] [IMDB=aclImdb] [REHEARSE=1] launch/gpu_check.sh
#
# OUT gets at most 8 files: benchmark.*, the summary or, where the time was not
# enough, the metrics of each training, and log.txt. Without IMDB, the folder of
# the reviews, the last part is skipped. REHEARSE=1 runs all parts in tiny sizes
# on any device. PYTHON is the environment's interpreter. Start it in the
# checkout's root. A part that fails does not stop the others; the exit code is
# then 1.
set -uo pipefail

PYTHON=${PYTHON:-python}
OUT=${OUT:-gpu-check}
if [ -n "$(ls -A "$OUT" 2>/dev/null)" ]; then
  echo "error: OUT=$OUT is not empty." >&2
  exit 2
fi
gpu='import jax; jax.devices("gpu")'
if [ -z "${REHEARSE:-}" ] && ! "$PYTHON" -c "$gpu" >/dev/null 2>&1; then
  echo "error: JAX finds no GPU; REHEARSE=1 needs none." >&2
  exit 2
fi
mkdir -p "$OUT" || exit 2
RUNS=$(mktemp -d)
trap 'rm -rf "$RUNS"' EXIT
failed=0

if [ -n "${REHEARSE:-}" ]; then
  speed=(--quick --lengths=256 '--models=memory,full' --parts=lengths --rounds=1)
  short=(--config.train.steps=4 --config.train.warmup_steps=1
    --config.train.batch_size=8 --config.data.num_eval=8
    --config.data.num_test=8 '--config.eval.length_multipliers=(1,)')
  facts=("${short[@]}")
  reviews=(configs/lra_lc.py:text_small "${short[@]}")
else
  speed=('--lengths=1024,4096,16384,65536' '--models=memory,local,full,ssm'
    '--parts=ceilings,lengths,breakdown' --rounds=3 --seconds=0.1)
  facts=(--config.train.batch_size=512)
  reviews=(configs/lra_lc.py:text --config.train.batch_size=128
    --config.train.steps=1000 --config.train.warmup_steps=100
    --config.train.eval_every=500)
fi

# part SECONDS ARGUMENTS...: a module of the package, for at most that long.
part() {
  local seconds=$1 code=0
  shift
  echo "== $*" | tee -a "$OUT/log.txt"
  timeout "$seconds" "$PYTHON" -m "$@" 2>&1 | tee -a "$OUT/log.txt" || code=$?
  if [ "$code" != 0 ]; then
    echo "exit code $code (124: after $seconds s)" | tee -a "$OUT/log.txt"
    failed=1
  fi
}

# training NAME SECONDS CONFIG ARGUMENTS...
training() {
  local name=$1 seconds=$2 config=$3
  shift 3
  part "$seconds" nema_lc_jax.main --config="$config" \
    --workdir="$RUNS/$name" "$@"
  cp "$RUNS/$name/summary.json" "$OUT/$name.json" 2>/dev/null ||
    cp "$RUNS/$name/metrics.jsonl" "$OUT/$name.jsonl" 2>/dev/null
}

part 240 nema_lc_jax.benchmark --config.model.dtype=bfloat16 \
  --config.model.chunk_batch_size=0 --out="$RUNS/benchmark" "${speed[@]}"
cp "$RUNS"/benchmark/benchmark.{json,md} "$OUT"
training haystack 150 configs/lra_lc.py "${facts[@]}"
training rebind 150 configs/lifecycle_lc.py:rebind "${facts[@]}"
if [ -n "${IMDB:-}" ]; then
  training text 240 "${reviews[@]}" --config.data.dir="$IMDB" \
    --config.model.dtype=bfloat16
fi
echo "wrote $OUT"
exit "$failed"
