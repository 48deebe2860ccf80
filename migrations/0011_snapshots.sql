-- Snapshots: which published generation has which immutable file in the artifact store.

create table cameo.snapshots (
    generation          bigint primary key references cameo.generations,
    tenant              text not null,
    service             text not null,
    -- pending: a worker has still to make the file; ready: it is in the artifact store; gone: the table
    -- it was made from was dropped, and the file goes as well.
    state               text not null default 'pending' check (state in ('pending', 'ready', 'gone')),
    epoch               integer not null default 0,
    attempts            integer not null default 0,
    not_before          timestamptz not null default now(),
    lease_expires_at    timestamptz,
    reason              jsonb,
    sha256              text,
    bytes               bigint,
    -- Files that are or may be in the artifact store and are not served. A file is named here before it is
    -- stored, so that none is forgotten when its maker dies.
    unwanted            text[] not null default '{}',
    created_at          timestamptz not null default now(),
    ready_at            timestamptz,
    foreign key (tenant, service, generation)
        references cameo.generations (tenant, service, generation),
    constraint snapshots_ready_have_a_file check (
        (state = 'ready') = (sha256 is not null and bytes is not null and ready_at is not null)),
    constraint snapshots_served_files_are_wanted check (sha256 is null or not sha256 = any (unwanted))
);

create index snapshots_waiting on cameo.snapshots (generation)
    where state = 'pending' or unwanted <> '{}';

create function cameo.follow_generation() returns trigger language plpgsql as $$
begin
    if new.state = 'published' and old.state <> 'published' then
        insert into cameo.snapshots (generation, tenant, service)
        values (new.generation, new.tenant, new.service);
    end if;
    if new.dropped_at is not null and old.dropped_at is null then
        -- Another epoch: whoever makes the file now will be refused.
        update cameo.snapshots
        set state = 'gone', epoch = epoch + 1, sha256 = null, bytes = null, ready_at = null,
            unwanted = unwanted || array_remove(array[sha256], null)
        where generation = new.generation;
    end if;
    return null;
end $$;

create trigger snapshots_follow_generations after update of state, dropped_at on cameo.generations
    for each row execute function cameo.follow_generation();

-- What was published before and is still kept gets its file as well.
insert into cameo.snapshots (generation, tenant, service)
select generation, tenant, service from cameo.generations
where state = 'published' and dropped_at is null;
