#!/usr/bin/env bash
# Adapt a recogniser trained on many speakers to one more: every method, budget and seed, with what it costs the others.
#
#   ./run.sh                       # FSDD: connected digits, each of six speakers left out in turn
#   ./run.sh --corpus an4          # AN4: the ten test speakers, in folds
#   ./run.sh --conf conf/fsdd-unsupervised.yaml              # FSDD without the target's transcripts
#   ./run.sh --corpus an4 --conf conf/an4-channel.yaml       # AN4 over a telephone, without transcripts from there
#   ./run.sh --corpus synthetic    # made speech, no network, under two minutes
set -euo pipefail
corpus=fsdd           # fsdd, an4 or synthetic
conf=                 # conf/<corpus>.yaml, or another
jobs=2                # processes side by side
publish=false         # copy results and pictures beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/$corpus.yaml}

stage 0 "download the corpus" -- python -m data_prep.fetch "$corpus"
stage 1 "prepare data directories" -- python -m "data_prep.$corpus" --out "$data"
stage 1 "put the target's speech through a telephone, where the configuration says so" "$data" -- \
  python local/hear.py --corpus "$corpus" --conf "$conf" --data "$data" --out "$exp/telephone"
stage 2 "train the source models" "$data" conf local -- \
  python local/train_sources.py --corpus "$corpus" --conf "$conf" --data "$data" --out "$exp/sources" --jobs "$jobs"
stage 3 "adapt and recognise" "$data" "$exp/telephone" "$exp/sources" conf local -- \
  python local/sweep.py --corpus "$corpus" --conf "$conf" --data "$data" --heard "$exp/telephone" \
  --sources "$exp/sources" --out "$exp/runs" --jobs "$jobs"
stage 5 "score, tables and pictures" "$exp/runs" local -- \
  python local/write_results.py --corpus "$corpus" --conf "$conf" --runs "$exp/runs" --out "$exp" --publish "$publish"
stage 6 "report" "$exp/results.json" -- speechnlp-tl report "$exp" "$exp/figures" "$exp"/sources/* --out "$exp/report.html"

# at the end whether or not there was anything left to do
if ((stop_stage >= 6)) && [[ -f $exp/table.md ]]; then
  cat "$exp/table.md"
  printf '\nall tables: %s\nreport:     %s\n' "$exp/RESULTS.md" "$exp/report.html"
fi
