#!/bin/sh
# need.sh TOOL PACKAGE: TOOL is there, or Debian's PACKAGE is installed where we may; else exit 1.
PATH="$PATH:/usr/sbin:/sbin"
command -v "$1" >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null 2>&1; then sudo="sudo -n"; else exit 1; fi
command -v apt-get >/dev/null 2>&1 || exit 1
# tests run beside each other, and apt-get serves one at a time
exec 9>"${TMPDIR:-/tmp}/edgebms-need.$(id -u).lock"
flock -w 300 9 2>/dev/null
command -v "$1" >/dev/null 2>&1 && exit 0
# a service that the package starts must not hold the lock
($sudo apt-get -q update && DEBIAN_FRONTEND=noninteractive $sudo apt-get -q install -y --no-install-recommends "$2") >/dev/null 2>&1 9>&-
command -v "$1" >/dev/null 2>&1
