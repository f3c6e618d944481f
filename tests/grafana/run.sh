#!/bin/sh
# The dashboards in Grafana's own libraries, before a real Prometheus. npm puts them into .venv/grafana once: half a gigabyte.
# Exit status: 0 where the tests pass, or where there is no Node.js; else what npm or pytest gives.
set -eu
cd "$(dirname "$0")/../.."
folder=.venv/grafana

if ! command -v npm >/dev/null; then
    echo "test-grafana: there is no Node.js with npm, so nothing was tested; on Debian: apt-get install npm" >&2
    exit 0
fi

if ! cmp -s tests/grafana/package.json $folder/package.json; then
    echo "installing Grafana's libraries into $folder"
    rm -rf $folder
    mkdir -p $folder/new
    cp tests/grafana/package.json $folder/new/
    # without what only its editors and its own tests ask of their host
    npm --prefix $folder/new install --silent --ignore-scripts --legacy-peer-deps --no-audit --no-fund --no-package-lock
    mv $folder/new/node_modules $folder/new/package.json $folder/
    rmdir $folder/new
fi

CI=true NODE_PATH=$PWD/$folder/node_modules exec .venv/bin/python -m pytest -q tests/grafana/with_grafana.py "$@"
