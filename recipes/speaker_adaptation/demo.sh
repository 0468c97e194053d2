#!/usr/bin/env bash
# The story in under five minutes: recognisers of spoken digits that never heard a speaker, before and after adapting.
# Real speech (FSDD) when it is found or can be downloaded, made speech otherwise; further options go to run.sh.
set -euo pipefail
here=$(CDPATH='' cd -- "$(dirname -- "${BASH_SOURCE[0]}")" && pwd)
python=${PYTHON:-python3}
export PYTHONPATH="$here/../..${PYTHONPATH:+:$PYTHONPATH}"

if "$python" -m data_prep.fetch fsdd; then
  echo 'demo: real speech, the Free Spoken Digit Dataset'
  exec "$here/run.sh" --corpus fsdd --conf conf/demo.yaml "$@"
fi
echo 'demo: FSDD is not here and could not be downloaded: this is SYNTHETIC speech'
exec "$here/run.sh" --corpus synthetic "$@"
