#!/usr/bin/env bash
# What a node needs: system packages, and a virtual environment with raysign as the checkout around this file has it.
#
# Its torch is the one for GPUs, as PyPI has it for Linux; where PIP_EXTRA_INDEX_URL names PyTorch's index of builds for
# CPUs, the smaller one. The environment is ~/raysign-env, or the folder that RAYSIGN_VENV names. Run again, it does only
# what is new.
# For Debian 12, Ubuntu 24.04 and newer; as root or with sudo.
set -euo pipefail
cd "$(dirname "$0")/.."
venv="${RAYSIGN_VENV:-$HOME/raysign-env}"
packages="python3-venv libegl1 libgles2 libgl1 libglib2.0-0" # the libraries are what MediaPipe loads

if ! dpkg -s $packages >/dev/null 2>&1; then
  as_root=$([ "$(id -u)" = 0 ] || echo sudo)
  $as_root apt-get update -qq
  $as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi
[ -x "$venv/bin/pip" ] || python3 -m venv "$venv"
"$venv/bin/pip" install -q --upgrade pip
"$venv/bin/pip" install -q -c constraints.txt torch # first and pinned: a range would take the newest build
"$venv/bin/pip" install -q -c constraints.txt -e .
