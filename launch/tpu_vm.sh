#!/bin/bash
# One run on a Cloud TPU VM, from one host to a whole pod.
#
#   export PROJECT=... ZONE=us-central2-b NAME=nema TYPE=v4-32 \
#       VERSION=tpu-ubuntu2204-base REPOSITORY=https://... \
#       CONFIG=configs/lra_lc.py:text WORKDIR=/shared/runs/text
#   launch/tpu_vm.sh create     the machine, or all machines of the pod
#   launch/tpu_vm.sh install    clones and installs on all of them
#   launch/tpu_vm.sh train [--config.FIELD=VALUE ...]
#   launch/tpu_vm.sh delete
#
# WORKDIR must be a folder that all hosts see (Filestore, or a mounted bucket).
# `train` again resumes. DRY_RUN=1 prints the gcloud commands instead.
set -euo pipefail

gcloud_() {
  local command=(gcloud compute tpus tpu-vm "$@" --project="${PROJECT:?}"
    --zone="${ZONE:?}")
  if [[ -n ${DRY_RUN:-} ]]; then
    printf '%s\n' "${command[@]}"
  else
    "${command[@]}"
  fi
}

# The same command on every host: --distributed asks the pod who is who.
everywhere() {
  gcloud_ ssh "${NAME:?}" --worker=all --command="$1"
}

action=${1:?create, install, train or delete}
shift
case $action in
create)
  gcloud_ create "${NAME:?}" --accelerator-type="${TYPE:?}" \
    --version="${VERSION:?}"
  ;;
install)
  everywhere "git clone ${REPOSITORY:?} nema && cd nema && \
python3 -m venv .venv && .venv/bin/pip install -q -c constraints.txt -e '.[tpu]'"
  ;;
train)
  line=(.venv/bin/python -m nema_lc_jax.main "--config=${CONFIG:?}"
    "--workdir=${WORKDIR:?}" --distributed "$@")
  everywhere "cd nema && ${line[*]@Q}"
  ;;
delete)
  gcloud_ delete "${NAME:?}" --quiet
  ;;
*)
  echo "error: unknown action '$action'; known: create, install, train," \
    "delete" >&2
  exit 2
  ;;
esac
