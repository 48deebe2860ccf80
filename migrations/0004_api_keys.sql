-- API keys. Only the hash is kept; the prefix finds the row.

create table cameo.api_keys (
    id                  bigint generated always as identity primary key,
    prefix              text not null unique,
    hash                text not null check (hash ~ '^[0-9a-f]{64}$'),
    -- Null: an admin key, which sees every tenant.
    tenant              text references cameo.tenants,
    name                text not null,
    created_by          text not null,
    created_at          timestamptz not null default now(),
    expires_at          timestamptz,
    revoked_at          timestamptz,
    last_used_at        timestamptz
);

create index api_keys_by_tenant on cameo.api_keys (tenant);
