#!/usr/bin/env bash
# Trains on a slice of TPU VMs; docs/tpu.md says what each step does.
#
#   export BUCKET=my-bucket TPU=faces ZONE=europe-west4-b
#   launch/tpu_vm.sh bucket data/photos identity.safetensors   # once: make it, copy the files there
#   launch/tpu_vm.sh create                                    # the slice, taken away at any time
#   launch/tpu_vm.sh install                                   # on all workers, from this checkout
#   launch/tpu_vm.sh train --config.batch_size=256             # on all workers; flags of train.py
#   launch/tpu_vm.sh log
#   launch/tpu_vm.sh delete
#
# ACCELERATOR and VERSION choose other chips, CONFIG another config, RUN the name of the workdir in
# the bucket, CAPACITY= a slice that stays (and costs more).
set -euo pipefail
cd "$(dirname "$0")/.."
: "${BUCKET:?name a bucket for the data and the workdir: BUCKET=my-bucket launch/tpu_vm.sh ...}"
: "${TPU:=faces}" "${ZONE:=europe-west4-b}" "${CAPACITY=--spot}"
: "${ACCELERATOR:=v5litepod-16}" "${VERSION:=v2-alpha-tpuv5-lite}"
: "${CONFIG:=configs/aei.py}" "${RUN:=aei}"

on_workers() { # WORKERS COMMAND
  gcloud compute tpus tpu-vm ssh "$TPU" --zone="$ZONE" --worker="$1" --command="$2"
}

make_bucket() { # DATASET IDENTITY
  # A checkpoint is written next to its place and renamed: one operation in such a bucket alone.
  gcloud storage buckets create "gs://$BUCKET" --location="${ZONE%-*}" \
    --uniform-bucket-level-access --enable-hierarchical-namespace
  gcloud storage rsync --recursive "$1" "gs://$BUCKET/photos"
  gcloud storage cp "$2" "gs://$BUCKET/identity.safetensors"
}

create() {
  # shellcheck disable=SC2086
  gcloud compute tpus tpu-vm create "$TPU" --zone="$ZONE" \
    --accelerator-type="$ACCELERATOR" --version="$VERSION" $CAPACITY
}

install() {
  git archive --output=/tmp/faceshifter.tar.gz HEAD
  gcloud compute tpus tpu-vm scp --zone="$ZONE" --worker=all /tmp/faceshifter.tar.gz "$TPU":
  # The machines bring Python 3.10, too old for this code: uv fetches another.
  on_workers all "
    set -e
    mkdir -p ~/faceshifter && tar -xzf ~/faceshifter.tar.gz -C ~/faceshifter
    curl -LsSf https://astral.sh/uv/install.sh | sh
    ~/.local/bin/uv venv --python 3.12 ~/venv
    ~/.local/bin/uv pip install --python ~/venv/bin/python -e ~/faceshifter[tpu]
    curl -s https://packages.cloud.google.com/apt/doc/apt-key.gpg |
      sudo tee /usr/share/keyrings/cloud.google.asc > /dev/null
    echo \"deb [signed-by=/usr/share/keyrings/cloud.google.asc] https://packages.cloud.google.com/apt gcsfuse-\$(lsb_release -cs) main\" |
      sudo tee /etc/apt/sources.list.d/gcsfuse.list
    sudo apt-get update && sudo apt-get install -y gcsfuse
    mkdir -p ~/bucket && gcsfuse --implicit-dirs $BUCKET ~/bucket
    cp -r ~/bucket/photos ~/photos
  "
}

train() {
  local flags=""
  (($# == 0)) || printf -v flags '%q ' "$@"
  on_workers all "
    cd ~/faceshifter
    nohup ~/venv/bin/python train.py --config $CONFIG --workdir ~/bucket/runs/$RUN \
      --config.distributed.mode=automatic --config.compute_dtype=bfloat16 \
      --config.batch_size=128 --config.save_every_steps=500 \
      --config.data.path=\$HOME/photos --config.data.num_threads=32 \
      --config.identity.weights=\$HOME/bucket/identity.safetensors \
      --config.compilation_cache=\$HOME/bucket/xla-cache $flags > ~/$RUN.log 2>&1 &
  "
}

case "${1:-}" in
  bucket) make_bucket "${2:?a prepared dataset}" "${3:?weights of an identity network}" ;;
  create) create ;;
  install) install ;;
  train) train "${@:2}" ;;
  log) on_workers 0 "tail -n 100 -f ~/$RUN.log" ;;
  delete) gcloud compute tpus tpu-vm delete "$TPU" --zone="$ZONE" ;;
  *)
    echo "usage: launch/tpu_vm.sh bucket|create|install|train|log|delete" >&2
    exit 2
    ;;
esac
