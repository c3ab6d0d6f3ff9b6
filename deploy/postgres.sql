-- The role that nodes and projectors use owns its database and nothing else: row-level security binds it.
CREATE ROLE annals LOGIN;
CREATE DATABASE annals OWNER annals;
REVOKE CONNECT ON DATABASE annals FROM PUBLIC;
