#!/usr/bin/env bash
# Trains on TPUs of a GKE cluster by xpk (https://github.com/AI-Hypercomputer/xpk), in a cluster
# that `xpk cluster create --tpu-type=... --enable-gcsfuse-csi-driver` made.
#
#   export PROJECT=my-project ZONE=europe-west4-b CLUSTER=faces BUCKET=my-bucket
#   export IMAGE=europe-west4-docker.pkg.dev/my-project/faces/faceshifter:1
#   launch/gke_xpk.sh image                          # build it from this checkout, and push it
#   launch/gke_xpk.sh storage                        # once: the bucket, as a folder of workloads
#   launch/gke_xpk.sh train --config.batch_size=256  # flags of faceshifter train
#   launch/gke_xpk.sh list
#   launch/gke_xpk.sh delete
#
# The bucket holds photos/, a prepared dataset, and identity.safetensors; it needs a hierarchical
# namespace (docs/tpu.md). TPU_TYPE, CONFIG and RUN, the workdir and the workload's name, may be set.
set -euo pipefail
cd "$(dirname "$0")/.."
: "${PROJECT:?}" "${ZONE:?}" "${CLUSTER:?}" "${BUCKET:?}" "${IMAGE:?}"
: "${TPU_TYPE:=v5litepod-16}" "${CONFIG:=aei}" "${RUN:=aei}"
place=(--project="$PROJECT" --zone="$ZONE" --cluster="$CLUSTER")

train() {
  local flags=""
  (($# == 0)) || printf -v flags '%q ' "$@"
  # A pod that is evicted gets SIGTERM: all save the same step, and go on there when they are back.
  xpk workload create "${place[@]}" --workload="$RUN" --tpu-type="$TPU_TYPE" --num-slices=1 \
    --docker-image="$IMAGE" --storage=faceshifter-bucket --max-restarts=50 \
    --termination-grace-period-seconds=120 \
    --command="faceshifter train --config $CONFIG --workdir /bucket/runs/$RUN \
--config.distributed.mode=automatic --config.compute_dtype=bfloat16 \
--config.batch_size=128 --config.save_every_steps=500 \
--config.data.path=/bucket/photos --config.data.num_threads=32 \
--config.identity.weights=/bucket/identity.safetensors \
--config.compilation_cache=/bucket/xla-cache $flags"
}

case "${1:-}" in
  image)
    docker build -t "$IMAGE" --build-arg EXTRAS=tpu .
    docker push "$IMAGE"
    ;;
  storage)
    xpk storage attach faceshifter-bucket "${place[@]}" --type=gcsfuse --bucket="$BUCKET" \
      --mount-point=/bucket --readonly=false --size=1 --auto-mount=false
    ;;
  train) train "${@:2}" ;;
  list) xpk workload list "${place[@]}" --filter-by-job="$RUN" ;;
  delete) xpk workload delete "${place[@]}" --workload="$RUN" ;;
  *)
    echo "usage: launch/gke_xpk.sh image|storage|train|list|delete" >&2
    exit 2
    ;;
esac
