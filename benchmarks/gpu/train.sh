#!/usr/bin/env bash
# Go on training the shipped potential on a machine with a CUDA device, within MINUTES.
#   benchmarks/gpu/train.sh FRAMES.extxyz [MINUTES]
# Lightning picks the device by itself; checkpoints made on a CPU continue here and back again.
# Not yet run on a GPU: this repository's potentials were trained on a CPU so far.
set -euo pipefail
frames=${1:?usage: train.sh FRAMES.extxyz [MINUTES]}
minutes=${2:-25}
cd "$(dirname "$0")/../.."
bjerrum=.venv/bin/bjerrum
[ -x "$bjerrum" ] || bjerrum=bjerrum
"$bjerrum" train "$frames" --config training/licl-nnp1/training.toml -o src/bjerrum/models/licl-nnp1 \
  --work-folder training/licl-nnp1 --max-minutes "$minutes"
