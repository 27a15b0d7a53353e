#!/usr/bin/env bash
# System packages some tests need (a browser, a validator of DICOM objects, an image archive, a finite-element
# solver, a slicer for plastic models, a batch system). Installed only where
# CI=true and we are root; a user's machine is left alone, and the tests that need them skip with a reason.
set -euo pipefail
[ "${CI:-}" = true ] && [ "$(id -u)" = 0 ] || exit 0
missing=()
command -v prusa-slicer >/dev/null || missing+=(prusa-slicer)
command -v chromium >/dev/null || missing+=(chromium)
command -v dciodvfy >/dev/null || missing+=(dicom3tools)
command -v Orthanc >/dev/null || missing+=(orthanc)
[ -e /usr/share/orthanc/plugins/libOrthancDicomWeb.so ] || missing+=(orthanc-dicomweb)
command -v ccx >/dev/null || missing+=(calculix-ccx)
command -v slurmctld >/dev/null || missing+=(slurm-wlm)
command -v munged >/dev/null || missing+=(munge)
[ ${#missing[@]} -eq 0 ] && exit 0
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
