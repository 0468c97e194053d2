#!/usr/bin/env bash
# Words of one language translated by words of another: spaces aligned with 5000, 500, 25 or no words, or learned together.
#
#   ./run.sh                             # Bible, Tatoeba and Multi30k: five pairs, six languages in one space
#   ./run.sh --conf conf/editions.yaml   # the same with more text for the vectors, one seed, the quick systems
#   ./run.sh --conf conf/full.yaml       # eight pairs, every edition of the Bible, five seeds: many hours
#   ./run.sh --corpus synthetic          # made languages, no network, under two minutes
set -euo pipefail
corpus=real           # real or synthetic
conf=                 # conf/real.yaml, conf/synthetic.yaml, or another
jobs=2                # trainings and alignments side by side
publish=false         # copy results.json, RESULTS.md and figures beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
[[ $conf ]] || conf=conf/$corpus.yaml

runs=$exp/runs
stage 0 "download the corpora" -- python local/prepare.py --corpus "$corpus" --conf "$conf" --out "$data" --download-only
stage 1 "prepare text and dictionaries" local -- \
  python local/prepare.py --corpus "$corpus" --conf "$conf" --out "$data"
stage 2 "train vectors" "$data" local -- \
  python local/train.py --conf "$conf" --data "$data" --runs "$runs" --jobs "$jobs"
stage 3 "align" "$data" local -- \
  python local/align.py --conf "$conf" --data "$data" --runs "$runs" --jobs "$jobs"
stage 4 "translate" "$data" local -- \
  python local/translate.py --conf "$conf" --data "$data" --runs "$runs" --jobs "$jobs"
stage 5 "score" "$data" "$runs/translations" local -- \
  python local/score.py --corpus "$corpus" --conf "$conf" --data "$data" --runs "$runs" --out "$exp/results.json"
stage 5 "pictures" "$exp/results.json" local -- \
  python local/pictures.py --corpus "$corpus" --conf "$conf" --data "$data" --runs "$runs" \
  --results "$exp/results.json" --out "$exp/figures"
stage 6 "report" "$exp/results.json" "$exp/figures" local -- \
  python local/report.py --results "$exp/results.json" --figures "$exp/figures" --out "$exp" \
  --publish "$publish"
