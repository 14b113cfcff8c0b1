#!/bin/sh
# Makes the virtual environment DIR with a Python of at least 3.11. Installs Debian's python3-venv where
# that is what is missing and we may; otherwise says in one sentence what to do.
set -eu
dir=$1
for python in python3 python3.14 python3.13 python3.12 python3.11; do
  if command -v "$python" >/dev/null 2>&1 && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$python; break; fi
done
[ -n "${found:-}" ] || { echo "edgebms needs Python 3.11 or newer and found none: install it (Debian 12, Ubuntu 24.04: apt install python3 python3-venv)" >&2; exit 1; }
if ! "$found" -c 'import ensurepip, venv' 2>/dev/null; then
  version=$("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null 2>&1; then sudo=sudo; else sudo=none; fi
  if [ "$sudo" = none ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "$found has no venv module: install it (Debian, Ubuntu: apt install python$version-venv) and run make again" >&2; exit 1
  fi
  $sudo apt-get -q update && DEBIAN_FRONTEND=noninteractive $sudo apt-get -q install -y "python$version-venv"
fi
"$found" -m venv "$dir"
"$dir/bin/python" -m pip install -q --disable-pip-version-check --upgrade 'pip>=24'
