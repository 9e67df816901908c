#!/bin/sh
# Brings the two databases of the Temporal server to the schema of this version. What is there is kept: run it at each upgrade.
set -eu

SQL_PASSWORD=$(cat /run/secrets/temporal_postgres_password)
export SQL_PASSWORD

update() {
    temporal-sql-tool --db "$1" setup-schema -v 0.0
    temporal-sql-tool --db "$1" update-schema -d "/etc/temporal/schema/postgresql/v12/$2/versioned"
}

update temporal temporal
update temporal_visibility visibility
