#!/bin/sh
# Makes the engine's namespace where it is not there yet. The workers add the search attributes themselves.
set -eu

temporal operator namespace describe --namespace "$NAMESPACE" >/dev/null 2>&1 ||
    temporal operator namespace create --namespace "$NAMESPACE" --retention "$RETENTION"
