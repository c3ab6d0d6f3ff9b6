-- Read model access, version 1. Frozen: what differs is a new version.

CREATE TABLE workspaces (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    slug text NOT NULL,
    retention_days bigint,
    isolation text NOT NULL,
    status text NOT NULL,
    created_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

CREATE TABLE workspace_memberships (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    team text,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

-- indexes

CREATE INDEX workspaces_by_slug ON workspaces (tenant_id, workspace_id, slug, id);
CREATE INDEX workspace_memberships_by_user ON workspace_memberships (tenant_id, workspace_id, user_id, id);
