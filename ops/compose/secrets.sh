#!/bin/sh
# Makes the secrets that docker-compose.yml mounts, in ./secrets, where they are not there yet. Run it as root, since each
# file must be readable by the user of its container: the folder keeps everybody else out.
#
#   ops/compose/secrets.sh https://rpc.example.org     for a real chain; then put the signer's key into secrets/signer_key
#   ops/compose/secrets.sh sandbox                     for the profile `sandbox`
set -eu

rpc_url=${1:?the URL of the node, or: sandbox}
umask 077
mkdir -p secrets
chmod 700 secrets
cd secrets

keep() { # a file with this text, unless there is one
    [ -e "$1" ] || printf '%s\n' "$2" >"$1"
    chmod 444 "$1"
}

keep postgres_password "$(openssl rand -hex 24)"
keep temporal_postgres_password "$(openssl rand -hex 24)"
keep grafana_password "$(openssl rand -hex 24)"
keep engine_key_pepper "$(openssl rand -hex 32)"
keep engine_sealing_key "$(openssl rand -hex 32)"
keep engine_database_url "postgresql+psycopg://engine:$(cat postgres_password)@postgres:5432/engine"
if [ "$rpc_url" = sandbox ]; then
    keep engine_rpc_url http://anvil:8545
    # The sixth of the accounts that every Anvil has; ops/compose/sandbox.env names its address.
    keep signer_key 0x8b3a350cf5c34c9194ca85829a2df0ec3153be0318b5e2d3348e872092edffba
else
    keep engine_rpc_url "$rpc_url"
    [ -e signer_key ] || echo "secrets/signer_key is missing: a key in hex or a keystore, of ENGINE_PLATFORM_WALLET" >&2
fi
# The lane refuses a key that others than its user may read.
if [ -e signer_key ]; then chown 10001:10001 signer_key && chmod 400 signer_key; fi
