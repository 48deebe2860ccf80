-- The control plane of Cameo. Forward only: expand first, contract in a later migration.

create schema if not exists cameo;

-- Rows of ledgers are facts: they are added, never changed.
create function cameo.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception '% on cameo.% refused: its rows are never changed', tg_op, tg_table_name
        using errcode = 'CM001';
end $$;

create table cameo.tenants (
    tenant              text primary key check (tenant ~ '^[a-z][a-z0-9_]{0,39}$'),
    max_concurrent_runs integer not null check (max_concurrent_runs between 1 and 1000),
    -- Fair turns: the tenant whose last claim is oldest goes first.
    last_claim_at       timestamptz,
    created_at          timestamptz not null default now()
);

-- One immutable version of a bundle.
create table cameo.releases (
    tenant              text not null references cameo.tenants,
    -- A service may not be named like a generation's table, which lives in the same schema.
    service             text not null
        check (service ~ '^[a-z][a-z0-9_]{0,39}$' and service !~ '_g[0-9]+$'),
    release             text not null check (release ~ '^[0-9a-f]{64}$'),
    version             text not null,
    manifest            jsonb not null,
    schema              jsonb not null,
    cron                text not null,
    timezone            text not null,
    missed_run_policy   text not null check (missed_run_policy in ('latest', 'all', 'skip')),
    missed_run_window_seconds bigint not null check (missed_run_window_seconds >= 0),
    generations_kept    integer not null check (generations_kept between 1 and 1000),
    stale_after_seconds bigint not null check (stale_after_seconds > 0),
    attempts_max        integer not null check (attempts_max between 1 and 100),
    config_hash         text not null,
    sql_hash            text not null,
    model_hash          text not null,
    git_commit          text,
    applied_by          text not null,
    applied_at          timestamptz not null default now(),
    primary key (tenant, service, release)
);

create trigger releases_are_immutable before update or delete on cameo.releases
    for each row execute function cameo.refuse_change();

create table cameo.services (
    tenant              text not null,
    service             text not null,
    release             text not null,
    -- The first due instant that no scheduler has decided yet.
    next_due_at         timestamptz not null,
    -- The pointer: what readers are served. Its foreign key follows the generations.
    current_generation  bigint,
    -- Which generation the tenant's view shows; it follows the pointer when its lock is free.
    view_generation     bigint,
    created_at          timestamptz not null default now(),
    primary key (tenant, service),
    foreign key (tenant, service, release) references cameo.releases
);

create index services_by_next_due on cameo.services (next_due_at);
