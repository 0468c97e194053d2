#!/usr/bin/env bash
# Train on reviews of one kind of product, judge those of another: linear baselines and transfer methods, side by side.
#
#   ./run.sh                                   # Amazon: 12 pairs of domains, every method
#   ./run.sh --conf conf/amazon-linear.yaml    # Amazon, the linear models only
#   ./run.sh --corpus synthetic                # made reviews, no network, under two minutes
set -euo pipefail
corpus=amazon         # amazon or synthetic
conf=                 # conf/<corpus>.yaml, or another
jobs=2                # pairs of domains side by side; mSDA takes about 3 GB for each
publish=false         # copy results.json and RESULTS.md beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/$corpus.yaml}

stage 0 "download the corpus" -- python -m data_prep.fetch "$corpus"
stage 1 "prepare the reviews" -- python local/prepare.py --corpus "$corpus" --out "$data"
stage 2 "source models and ceilings" "$data" local -- \
  python local/run_systems.py --conf "$conf" --part source --data "$data" --out "$exp/runs" --jobs "$jobs"
stage 3 "transfer" "$data" local -- \
  python local/run_systems.py --conf "$conf" --part transfer --data "$data" --out "$exp/runs" --jobs "$jobs"
stage 5 "score" "$exp/runs" "$data" local -- \
  python local/write_results.py --corpus "$corpus" --conf "$conf" --data "$data" --runs "$exp/runs" --out "$exp" \
  --publish "$publish"
