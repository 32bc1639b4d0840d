#!/bin/bash
# A sweep across a SLURM cluster: each task of an array trains one policy with
# one seed, where `python -m nema_lc_jax.sweep` would have put it.
#
#   export CONFIG=configs/lifecycle_lc.py:rebind OUT=/shared/sweeps/rebind
#   export POLICIES="learned fifo lru" SEEDS=5
#   sbatch --array=0-14 --gpus-per-node=1 launch/slurm_sweep.sh
#
# The array has a task for each policy and seed. When all are done, the tables
# and figures (and what is missing is trained where you call it):
#
#   python -m nema_lc_jax.sweep --config="$CONFIG" --out="$OUT" \
#       --policies="${POLICIES// /,}" --seeds="$SEEDS"
#
# Arguments such as --config.train.steps=500 go to both commands alike.
#SBATCH --job-name=nema-lc-sweep
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%A_%a.txt
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

read -ra policies <<<"${POLICIES:?}"
index=${SLURM_ARRAY_TASK_ID:?}
# Seeds outside: an array that is cut short has few seeds of everything.
policy=${policies[index % ${#policies[@]}]}
seed=$((index / ${#policies[@]}))
if ((seed >= ${SEEDS:?})); then
  echo "error: task $index is past ${#policies[@]} policies x $SEEDS seeds" >&2
  exit 2
fi
workdir=${OUT:?}/runs/${policy//:/.}/seed$seed
if [[ -e $workdir/summary.json ]]; then
  echo "$workdir is finished"
  exit 0
fi

exec srun --ntasks=1 "${PYTHON:-python}" -m nema_lc_jax.main \
  --config="${CONFIG:?}" --workdir="$workdir" --distributed \
  --config.memory.policy="$policy" --config.seed="$seed" "$@"
