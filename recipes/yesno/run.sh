#!/usr/bin/env bash
# Kaldi's hello world: train a recogniser on 30 recordings of Hebrew yes and no, test on 30 others.
#
#   ./run.sh                       # real recordings, about a minute
#   ./run.sh --corpus synthetic    # made speech, no network
set -euo pipefail
corpus=yesno          # yesno or synthetic
conf=                 # conf/<corpus>.yaml, or another
publish=false         # copy results.json and RESULTS.md beside this script
. "$(dirname "${BASH_SOURCE[0]}")/../common.sh"
conf=${conf:-conf/$corpus.yaml}

stage 0 "download the corpus" -- python -m data_prep.fetch "$corpus"
stage 1 "prepare data directories" -- python -m "data_prep.$corpus" --out "$data"
stage 2 "train" "$data/train_main" "$data/train_dev" -- \
  speechnlp-tl train "$conf" --out "$exp/model" --set data.train="$data/train_main" \
  --set data.dev="$data/train_dev" --set data.lexicon="$data/lexicon.txt"
stage 4 "recognise the test recordings" "$exp/model/model" "$data/test" -- \
  speechnlp-tl transcribe --model "$exp/model" --data "$data/test" --out "$exp/hyp"
stage 5 "score" "$exp/hyp" "$data/test" -- \
  speechnlp-tl score --ref "$data/test/text" --hyp "$exp/hyp" --json "$exp/scores.json" --alignments "$exp/alignments.txt"
stage 6 "results" "$exp/scores.json" -- \
  python ../write_results.py --recipe yesno --corpus "$corpus" --system "$name" --scores "$exp/scores.json" \
  --model "$exp/model" --out "$exp" --publish "$publish"
stage 6 "report" "$exp/results.json" -- speechnlp-tl report "$exp" "$exp/model" --out "$exp/report.html"
