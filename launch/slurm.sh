#!/bin/bash
# One run on several nodes of a SLURM cluster, one process per GPU.
#
#   CONFIG=configs/lra_lc.py:text WORKDIR=/shared/runs/text sbatch --nodes=2 \
#       --gpus-per-node=4 --ntasks-per-node=4 launch/slurm.sh [--config.F=V ...]
#
# CONFIG and WORKDIR (a folder that all nodes see) are needed; PYTHON is the
# environment's interpreter. Submit from the checkout's root.
#SBATCH --job-name=nema-lc
#SBATCH --time=24:00:00
#SBATCH --output=slurm-%j.txt
# Two minutes before the time is up, and when the job is preempted, every
# process gets SIGTERM: the run saves, ends, and goes on when it is requeued.
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

# A task that fails ends the others: none of them could go on.
exec srun --kill-on-bad-exit=1 "${PYTHON:-python}" -m nema_lc_jax.main \
  --config="${CONFIG:?}" --workdir="${WORKDIR:?}" --distributed "$@"
