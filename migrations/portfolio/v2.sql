-- Read model portfolio, version 2. Frozen: what differs is a new version.

CREATE TABLE projects (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    status text NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

CREATE TABLE applications (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    name text NOT NULL,
    project_id uuid,
    criticality text NOT NULL,
    source text,
    latest_release text,
    release_count bigint NOT NULL,
    likelihood bigint,
    impact bigint,
    status text NOT NULL,
    registered_at timestamptz NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

CREATE TABLE application_versions (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    application_id uuid NOT NULL,
    number text NOT NULL,
    released_at timestamptz NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

CREATE TABLE dependencies (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    from_application_id uuid NOT NULL,
    to_application_id uuid NOT NULL,
    kind text NOT NULL,
    requirement text,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

CREATE TABLE application_counts (
    tenant_id uuid NOT NULL,
    workspace_id uuid NOT NULL,
    id uuid NOT NULL,
    project_id uuid,
    status text NOT NULL,
    applications bigint NOT NULL,
    PRIMARY KEY (tenant_id, workspace_id, id)
) /*table options*/;

-- indexes

CREATE INDEX projects_by_name ON projects (tenant_id, workspace_id, name, id);
CREATE INDEX applications_by_name ON applications (tenant_id, workspace_id, name, id);
CREATE INDEX applications_by_project ON applications (tenant_id, workspace_id, project_id, name, id);
CREATE INDEX application_versions_by_application
    ON application_versions (tenant_id, workspace_id, application_id, released_at, id);
CREATE INDEX dependencies_by_from ON dependencies (tenant_id, workspace_id, from_application_id, to_application_id, id);
CREATE INDEX dependencies_by_to ON dependencies (tenant_id, workspace_id, to_application_id, from_application_id, id);
