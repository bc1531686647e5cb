-- Roles and schemas of Errand. Run it as a superuser in the database that Errand shall use, as often as you like:
--
--   psql -d errand -f deploy/postgres/roles.sql \
--        -v migrate_password=... -v auth_password=... -v task_password=... -v chat_password=...
--
-- errand_migrate owns the schemas and what `errand migrate` makes in them. The role of a service has
-- no right on another service's schema, owns nothing, and row level security holds for it. A
-- password that is not given stays as it is; a new role without one can log in only where pg_hba.conf
-- asks for none. With three databases run it in each of them.
\set ON_ERROR_STOP on
\set QUIET on
BEGIN;
-- Roles belong to the whole server: two runs at once, even in two databases, take turns.
LOCK TABLE pg_catalog.pg_authid IN SHARE ROW EXCLUSIVE MODE;

SELECT format('CREATE ROLE %I', role)
FROM unnest(ARRAY['errand_migrate', 'errand_auth', 'errand_task', 'errand_chat']) role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) \gexec

SELECT format('ALTER ROLE %I LOGIN NOSUPERUSER NOBYPASSRLS NOCREATEDB NOCREATEROLE NOREPLICATION', role)
FROM unnest(ARRAY['errand_migrate', 'errand_auth', 'errand_task', 'errand_chat']) role \gexec

\if :{?migrate_password}
ALTER ROLE errand_migrate PASSWORD :'migrate_password';
\endif
\if :{?auth_password}
ALTER ROLE errand_auth PASSWORD :'auth_password';
\endif
\if :{?task_password}
ALTER ROLE errand_task PASSWORD :'task_password';
\endif
\if :{?chat_password}
ALTER ROLE errand_chat PASSWORD :'chat_password';
\endif

-- Only who is named here may connect, and nobody makes anything in `public`.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO errand_migrate, errand_auth, errand_task, errand_chat', current_database()) \gexec
SELECT 'REVOKE ALL ON SCHEMA public FROM PUBLIC' WHERE EXISTS (SELECT FROM pg_namespace WHERE nspname = 'public') \gexec

-- Names are always written with their schema. A statement may run as long as the longest deadline (30 s)
-- and a little more; nothing waits long for a lock or keeps a transaction open.
SELECT format('ALTER ROLE %I SET %s', role, setting)
FROM unnest(ARRAY['errand_auth', 'errand_task', 'errand_chat']) role,
     unnest(ARRAY['search_path = ''''', 'statement_timeout = ''35s''', 'lock_timeout = ''10s''',
                  'idle_in_transaction_session_timeout = ''40s''']) setting \gexec
ALTER ROLE errand_migrate SET search_path = '';

SELECT format(statement, service)
FROM (VALUES ('auth'), ('task'), ('chat')) services (service),
     unnest(ARRAY[
         'CREATE SCHEMA IF NOT EXISTS %1$I AUTHORIZATION errand_migrate',
         'ALTER SCHEMA %1$I OWNER TO errand_migrate',
         'REVOKE ALL ON SCHEMA %1$I FROM PUBLIC, errand_auth, errand_task, errand_chat',
         'GRANT USAGE ON SCHEMA %1$I TO errand_%1$s',
         -- What `errand migrate` will make ...
         'ALTER DEFAULT PRIVILEGES FOR ROLE errand_migrate IN SCHEMA %1$I GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO errand_%1$s',
         'ALTER DEFAULT PRIVILEGES FOR ROLE errand_migrate IN SCHEMA %1$I GRANT USAGE ON SEQUENCES TO errand_%1$s',
         'ALTER DEFAULT PRIVILEGES FOR ROLE errand_migrate IN SCHEMA %1$I GRANT EXECUTE ON FUNCTIONS TO errand_%1$s',
         -- ... and what it made before, in case this is run late.
         'GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA %1$I TO errand_%1$s',
         'GRANT USAGE ON ALL SEQUENCES IN SCHEMA %1$I TO errand_%1$s',
         'GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA %1$I TO errand_%1$s'
     ]) WITH ORDINALITY AS statements (statement, place)
ORDER BY service, place \gexec

-- Everybody may run a function unless this is taken back, for all schemas at once.
ALTER DEFAULT PRIVILEGES FOR ROLE errand_migrate REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SELECT format('REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', service)
FROM unnest(ARRAY['auth', 'task', 'chat']) service \gexec

-- Which migrations were applied is read by services and written by errand_migrate alone.
SELECT format('REVOKE ALL ON %1$I._migrations FROM errand_%1$s; GRANT SELECT ON %1$I._migrations TO errand_%1$s', service)
FROM unnest(ARRAY['auth', 'task', 'chat']) service
WHERE to_regclass(format('%I._migrations', service)) IS NOT NULL \gexec
COMMIT;
