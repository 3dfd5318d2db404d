#!/bin/sh
# slim.sh VENV [with-page]: take out of an environment what nothing reads: test suites of the largest packages, C++ headers, MLflow's web page.
set -eu
cd "$1"/lib/python3.11/site-packages
for package in numpy pandas scipy sklearn pyarrow matplotlib mlflow; do
    if [ -d "$package" ]; then find "$package" -type d -name tests -prune -exec rm -rf {} +; fi
done
rm -rf tensorflow/include pyarrow/include
[ "${2:-}" = with-page ] || rm -rf mlflow/server/js
