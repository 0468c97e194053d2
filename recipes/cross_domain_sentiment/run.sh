#!/usr/bin/env bash
# Train on reviews of one kind of product, judge those of another: linear baselines and transfer methods, side by side.
#
#   ./run.sh                                   # Amazon: 12 pairs of domains, every method
#   ./run.sh --conf conf/amazon-linear.yaml    # Amazon, the linear models only
#   ./run.sh --corpus amazon-text              # Amazon, from the raw text of the same reviews
#   ./run.sh --corpus text --text-file my.jsonl  # your own: text, label and domain, one JSON object a line
#   ./run.sh --corpus synthetic                # made reviews, no network, under two minutes
set -euo pipefail
corpus=amazon         # amazon, amazon-text, text or synthetic
text_file=            # JSON Lines file of --corpus text
conf=                 # conf/<corpus>.yaml (conf/text.yaml for both kinds of text), or another
jobs=2                # pairs of domains side by side; mSDA takes about 3 GB for each
publish=false         # copy results.json and RESULTS.md beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/${corpus/#amazon-text/text}.yaml}

stage 0 "download the corpus" -- python -m data_prep.fetch "$corpus"
stage 1 "prepare the reviews" ${text_file:+"$text_file"} -- \
  python local/prepare.py --corpus "$corpus" ${text_file:+--text-file "$text_file"} --out "$data"
stage 2 "source models and ceilings" "$data" local -- \
  python local/run_systems.py --conf "$conf" --part source --data "$data" --out "$exp/runs" --jobs "$jobs"
stage 3 "transfer" "$data" local -- \
  python local/run_systems.py --conf "$conf" --part transfer --data "$data" --out "$exp/runs" --jobs "$jobs"
stage 5 "pictures" "$data" local -- \
  python local/pictures.py --corpus "$corpus" --conf "$conf" --data "$data" --runs "$exp/runs" --out "$exp/figures"
stage 5 "score" "$exp/runs" "$data" local -- \
  python local/write_results.py --corpus "$corpus" --conf "$conf" --data "$data" --runs "$exp/runs" --out "$exp" \
  --publish "$publish"
