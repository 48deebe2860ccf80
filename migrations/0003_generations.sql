-- Generations, the ledger of what was published when, and the outbox of the mirror.

create table cameo.generations (
    generation          bigint generated always as identity primary key,
    tenant              text not null,
    service             text not null,
    run                 bigint not null references cameo.runs,
    epoch               integer not null,
    due_at              timestamptz not null,
    release             text not null,
    config_hash         text not null,
    sql_hash            text not null,
    model_hash          text not null,
    data_fingerprint    text,
    watermark           timestamptz,
    predicted_at        timestamptz not null,
    schema              jsonb not null,
    table_schema        text not null,
    table_name          text not null,
    -- published: was published at some time; retired: complete, but a newer one was published
    -- before; abandoned: its attempt ended before it was complete.
    state               text not null default 'loading'
        check (state in ('loading', 'published', 'retired', 'abandoned')),
    rows                bigint,
    checksum            bigint,
    created_at          timestamptz not null default now(),
    sealed_at           timestamptz,
    published_at        timestamptz,
    dropped_at          timestamptz,
    unique (run, epoch),
    unique (table_schema, table_name),
    unique (tenant, service, generation),
    foreign key (tenant, service) references cameo.services,
    foreign key (tenant, service, release) references cameo.releases,
    constraint generations_sealed_before_published check (
        state not in ('published', 'retired')
        or (sealed_at is not null and rows is not null and checksum is not null)),
    constraint generations_published_is_timed
        check ((state = 'published') = (published_at is not null)),
    constraint generations_dropped_after_end check (dropped_at is null or state <> 'loading')
);

create index generations_by_service on cameo.generations (tenant, service, generation desc);
create index generations_with_table on cameo.generations (state) where dropped_at is null;

create function cameo.check_generation() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'generation % cannot be deleted', old.generation using errcode = 'CM003';
    end if;
    if old.state <> 'loading' and (to_jsonb(new) - 'dropped_at') <> (to_jsonb(old) - 'dropped_at') then
        raise exception 'generation % is % and never changes', old.generation, old.state
            using errcode = 'CM003';
    end if;
    if old.dropped_at is not null and new.dropped_at is distinct from old.dropped_at then
        raise exception 'generation % is dropped for good', old.generation using errcode = 'CM003';
    end if;
    return new;
end $$;

create trigger generations_are_immutable before update or delete on cameo.generations
    for each row execute function cameo.check_generation();

alter table cameo.runs add foreign key (tenant, service, generation)
    references cameo.generations (tenant, service, generation);
alter table cameo.services add foreign key (tenant, service, current_generation)
    references cameo.generations (tenant, service, generation);

create table cameo.publications (
    publication         bigint generated always as identity primary key,
    tenant              text not null,
    service             text not null,
    action              text not null check (action in ('publish', 'rollback')),
    generation          bigint not null,
    previous            bigint,
    actor               text not null,
    at                  timestamptz not null default clock_timestamp(),
    foreign key (tenant, service, generation)
        references cameo.generations (tenant, service, generation),
    foreign key (tenant, service, previous)
        references cameo.generations (tenant, service, generation),
    check (generation is distinct from previous)
);

-- A generation is published once; afterwards only rollbacks lead back to it.
create unique index publications_once on cameo.publications (generation) where action = 'publish';
create index publications_by_service on cameo.publications (tenant, service, publication desc);
create index publications_by_previous on cameo.publications (previous);

create trigger publications_are_a_ledger before update or delete on cameo.publications
    for each row execute function cameo.refuse_change();

create table cameo.outbox (
    generation          bigint primary key references cameo.generations,
    tenant              text not null,
    service             text not null,
    load_id             text not null unique,
    state               text not null default 'pending' check (state in ('pending', 'mirrored')),
    epoch               integer not null default 0,
    attempts            integer not null default 0,
    not_before          timestamptz not null default now(),
    lease_expires_at    timestamptz,
    reason              jsonb,
    source_rows         bigint,
    source_checksum     bigint,
    mirror_rows         bigint,
    mirror_checksum     bigint,
    created_at          timestamptz not null default now(),
    completed_at        timestamptz,
    constraint outbox_mirrored_is_compared check ((state = 'mirrored') = (completed_at is not null
        and source_rows is not null and source_checksum is not null
        and mirror_rows is not null and mirror_checksum is not null))
);

create index outbox_pending on cameo.outbox (tenant, service, generation) where state = 'pending';

-- The outbox row exists if and only if the generation was published. Checked at commit, because
-- the two rows are written one after the other.
create function cameo.check_outbox() returns trigger language plpgsql as $$
declare
    published boolean;
    listed boolean;
begin
    select g.state = 'published', o.generation is not null into published, listed
    from cameo.generations g left join cameo.outbox o using (generation)
    where g.generation = coalesce(new.generation, old.generation);
    if published is distinct from listed then
        raise exception 'generation %: published is %, in the outbox is %',
            coalesce(new.generation, old.generation), published, listed using errcode = 'CM004';
    end if;
    return null;
end $$;

create constraint trigger outbox_follows_generations after update of state on cameo.generations
    deferrable initially deferred for each row execute function cameo.check_outbox();
create constraint trigger generations_follow_outbox after insert or delete on cameo.outbox
    deferrable initially deferred for each row execute function cameo.check_outbox();
