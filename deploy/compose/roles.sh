# Run by the container of PostgreSQL at its first start: makes Errand's roles, with the passwords that the services'
# secrets name. They are read by psql itself, so that no command line shows them.
psql --no-psqlrc --quiet --set=ON_ERROR_STOP=1 --username=postgres --dbname="${POSTGRES_DB:-errand}" <<'SQL'
\set migrate_password `sed -n 's|^postgres://[^:]*:\([^@]*\)@.*|\1|p' /run/secrets/migrate_url`
\set auth_password `sed -n 's|^postgres://[^:]*:\([^@]*\)@.*|\1|p' /run/secrets/auth_url`
\set task_password `sed -n 's|^postgres://[^:]*:\([^@]*\)@.*|\1|p' /run/secrets/task_url`
\set chat_password `sed -n 's|^postgres://[^:]*:\([^@]*\)@.*|\1|p' /run/secrets/chat_url`
\i /deploy/roles.sql
SQL
