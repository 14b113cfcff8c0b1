#!/bin/sh
# need.sh TOOL PACKAGE: TOOL is there, or Debian's PACKAGE is installed where we may; else exit 1.
command -v "$1" >/dev/null 2>&1 && exit 0
if [ "$(id -u)" = 0 ]; then sudo=; elif command -v sudo >/dev/null 2>&1; then sudo="sudo -n"; else exit 1; fi
command -v apt-get >/dev/null 2>&1 || exit 1
($sudo apt-get -q update && DEBIAN_FRONTEND=noninteractive $sudo apt-get -q install -y --no-install-recommends "$2") >/dev/null 2>&1
command -v "$1" >/dev/null 2>&1
