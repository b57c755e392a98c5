#!/bin/bash
# Measure on a machine with a GPU and without a network: Python 3.12, torch 2.11, Lightning 2.6.
#
#   bash benchmarks/gpu.sh prepare INPUTS           here: fetch the missing wheels and MNIST
#   bash benchmarks/gpu.sh run INPUTS OUT [OPTION]  there: install them, then python -m benchmarks.gpu
set -euo pipefail
cd "$(dirname "$0")/.."
verb=${1:?prepare or run} inputs=${2:?a folder}

case $verb in
prepare)
    mkdir -p "$inputs/wheels" "$inputs/MNIST/raw"
    # What a machine for torch and Lightning usually lacks; none of them is compiled.
    python3 -m pip download --quiet --no-deps --only-binary=:all: --dest "$inputs/wheels" \
        'jsonargparse>=4.49,<5' 'docstring-parser>=0.17' 'typeshed-client>=2.8.2' 'beartype>=0.20'
    python3 - "$inputs/MNIST/raw" <<'PYTHON'
import gzip, sys
from pathlib import Path
from datamodules import MNISTDataModule
data = MNISTDataModule()
data.prepare_data()
for path in data.raw_dir.glob("*-ubyte*"):
    content = path.read_bytes() if path.suffix == ".gz" else gzip.compress(path.read_bytes())
    Path(sys.argv[1], f"{path.name.removesuffix('.gz')}.gz").write_bytes(content)
PYTHON
    du -sh "$inputs"
    ;;
run)
    out=${3:?a folder for the results}
    shift 3
    export INFOGAN_SITE=${INFOGAN_SITE:-$(mktemp -d)} XDG_CACHE_HOME=${XDG_CACHE_HOME:-$(mktemp -d)}
    python3 -m pip install --quiet --no-index --no-deps --no-compile --target "$INFOGAN_SITE" \
        "$inputs"/wheels/*.whl
    mkdir -p "$XDG_CACHE_HOME/infogan/MNIST/raw"
    for archive in "$inputs"/MNIST/raw/*.gz; do
        gzip -dc "$archive" >"$XDG_CACHE_HOME/infogan/MNIST/raw/$(basename "${archive%.gz}")"
    done
    export PYTHONPATH=$PWD:$INFOGAN_SITE PYTHONUNBUFFERED=1
    python3 -m benchmarks.gpu --out "$out" "$@"
    ;;
*)
    echo "error: $verb is neither prepare nor run" >&2
    exit 2
    ;;
esac
