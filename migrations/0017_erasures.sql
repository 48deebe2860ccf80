-- Erasing a customer everywhere, for good, and being able to show it.

-- What keys are hashed with before they are kept as suppressed. A hash of a mere number could be undone by
-- trying all numbers; with a salt that is each tenant's own, hashes of two tenants cannot be compared either.
create table cameo.suppression_salts (
    tenant              text primary key references cameo.tenants,
    salt                bytea not null check (octet_length(salt) = 32),
    created_at          timestamptz not null default now()
);

-- With another salt no suppression would be recognised any more.
create trigger suppression_salts_never_change before update or delete on cameo.suppression_salts
    for each row execute function cameo.refuse_change();

-- Somebody asked for a customer to be erased. The key itself is in erasure_keys, until it is done.
create table cameo.erasures (
    erasure             bigint generated always as identity primary key,
    tenant              text not null references cameo.tenants,
    -- HMAC-SHA-256 of the key as an integer and as text; null where it cannot be, or was not meant, as one.
    fingerprint_int     bytea check (octet_length(fingerprint_int) = 32),
    fingerprint_string  bytea check (octet_length(fingerprint_string) = 32),
    -- Null: all of the tenant's services.
    services            text[] check (cardinality(services) > 0),
    reason              text,
    actor               text not null,
    origin              text not null,
    state               text not null default 'erasing' check (state in ('erasing', 'done')),
    -- How often a worker has gone through all places.
    passes              integer not null default 0,
    requested_at        timestamptz not null default clock_timestamp(),
    finished_at         timestamptz,
    unique (tenant, erasure),
    constraint erasures_are_of_a_key
        check (fingerprint_int is not null or fingerprint_string is not null),
    constraint erasures_done_is_timed check ((state = 'done') = (finished_at is not null))
);

-- Asking again while it goes on finds the same one.
create unique index erasures_open_once
    on cameo.erasures (tenant, fingerprint_int, fingerprint_string, services) nulls not distinct
    where state = 'erasing';
create index erasures_by_tenant on cameo.erasures (tenant, erasure desc);

-- Keys that are being erased. Rows go as soon as they have done their work, and the table is rewritten
-- then, so that nothing of them is left in it. No statistics either: they would hold keys.
create table cameo.erasure_keys (
    erasure             bigint primary key references cameo.erasures,
    key                 text not null
);
alter table cameo.erasure_keys alter column key set statistics 0;
alter table cameo.quarantine alter column key set statistics 0;

-- Whom runs leave out. What is kept of the key is its HMAC.
create table cameo.suppressions (
    suppression         bigint generated always as identity primary key,
    tenant              text not null references cameo.tenants,
    key_type            text not null check (key_type in ('INT', 'STRING')),
    fingerprint         bytea not null check (octet_length(fingerprint) = 32),
    -- Null: in all services.
    service             text,
    erasure             bigint not null references cameo.erasures,
    created_at          timestamptz not null default clock_timestamp(),
    lifted_at           timestamptz,
    lifted_by           text,
    lift_reason         text,
    constraint suppressions_lifted_for_a_reason check (
        (lifted_at is null) = (lifted_by is null)
        and (lifted_at is null) = (coalesce(lift_reason, '') = ''))
);

create unique index suppressions_once
    on cameo.suppressions (tenant, key_type, fingerprint, service) nulls not distinct
    where lifted_at is null;

create function cameo.check_suppression() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or old.lifted_at is not null
        or (to_jsonb(new) - '{lifted_at,lifted_by,lift_reason}'::text[])
            <> (to_jsonb(old) - '{lifted_at,lifted_by,lift_reason}'::text[])
    then
        raise exception 'suppression %: it can be lifted, once, and nothing else', old.suppression
            using errcode = 'CM017';
    end if;
    return new;
end $$;

create trigger suppressions_are_only_lifted before update or delete on cameo.suppressions
    for each row execute function cameo.check_suppression();

-- What was taken out of a generation's table after it was sealed. Its own count and checksum stay as they
-- were: less these, they are what the table and every copy of it hold.
create table cameo.generation_erasures (
    entry               bigint generated always as identity primary key,
    erasure             bigint not null references cameo.erasures,
    generation          bigint not null references cameo.generations,
    rows                bigint not null check (rows > 0),
    -- Xor over the hashes of the rows, as a generation's own.
    checksum            bigint not null,
    at                  timestamptz not null default clock_timestamp()
);

create index generation_erasures_by_generation on cameo.generation_erasures (generation);

create trigger generation_erasures_are_a_ledger before update or delete on cameo.generation_erasures
    for each row execute function cameo.refuse_change();

create function cameo.rows_left(g cameo.generations) returns bigint language sql stable
    return g.rows - coalesce((select sum(e.rows) from cameo.generation_erasures e
                              where e.generation = g.generation), 0)::bigint;

create function cameo.checksum_left(g cameo.generations) returns bigint language sql stable
    return g.checksum # coalesce((select bit_xor(e.checksum) from cameo.generation_erasures e
                                  where e.generation = g.generation), 0);

-- One place that an erasure goes through: removed, it is out of sight; done, its bytes are gone too.
create table cameo.erasure_steps (
    erasure             bigint not null references cameo.erasures,
    place               text not null
        check (place in ('run', 'table', 'quarantine', 'mirror', 'snapshot', 'segment')),
    -- The run, the generation or the materialisation; 0 of a place that there is once.
    subject             bigint not null,
    -- Of a run: the claim that is waited for.
    epoch               integer,
    service             text,
    state               text not null default 'pending' check (state in ('pending', 'removed', 'done')),
    rows_removed        bigint not null default 0 check (rows_removed >= 0),
    rows_before         bigint,
    checksum_before     bigint,
    rows_after          bigint,
    checksum_after      bigint,
    -- What was found when the place was searched once more at the end: nothing, or it is not done.
    rows_found_again    bigint,
    finished_at         timestamptz,
    primary key (erasure, place, subject),
    constraint erasure_steps_run_has_epoch check ((place = 'run') = (epoch is not null)),
    constraint erasure_steps_done_is_timed check ((state = 'done') = (finished_at is not null))
);

create index erasure_steps_open on cameo.erasure_steps (place, subject) where state <> 'done';

-- Whose erasures are being worked on: one worker at a time for a tenant, under a lease.
create table cameo.erasure_turns (
    tenant              text primary key references cameo.tenants,
    epoch               integer not null default 0,
    lease_expires_at    timestamptz,
    not_before          timestamptz not null default now(),
    attempts            integer not null default 0,
    reason              jsonb,
    -- Keys were deleted from erasure_keys, which was not yet rewritten.
    keys_to_forget      boolean not null default false
);

create function cameo.check_erasure() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' or old.state = 'done' then
        raise exception 'erasure % is a record and stays as it is', old.erasure using errcode = 'CM017';
    end if;
    if (to_jsonb(new) - '{state,passes,finished_at}'::text[])
        <> (to_jsonb(old) - '{state,passes,finished_at}'::text[])
    then
        raise exception 'erasure %: what it is about never changes', old.erasure using errcode = 'CM017';
    end if;
    if new.state = 'done' and (
        new.passes = 0
        or exists (select from cameo.erasure_keys k where k.erasure = new.erasure)
        or exists (select from cameo.erasure_steps s where s.erasure = new.erasure
                   and (s.state <> 'done' or s.place <> 'run' and s.rows_found_again is distinct from 0)))
    then
        raise exception 'erasure % has places that are not done, or not found empty', new.erasure
            using errcode = 'CM017';
    end if;
    return new;
end $$;

create trigger erasures_are_done_everywhere before update or delete on cameo.erasures
    for each row execute function cameo.check_erasure();

create function cameo.check_erasure_step() returns trigger language plpgsql as $$
begin
    if (select state from cameo.erasures where erasure = coalesce(new.erasure, old.erasure)) = 'done' then
        raise exception 'erasure % is done and its places never change', coalesce(new.erasure, old.erasure)
            using errcode = 'CM017';
    end if;
    return coalesce(new, old);
end $$;

create trigger erasure_steps_follow_their_erasure
    before insert or update or delete on cameo.erasure_steps
    for each row execute function cameo.check_erasure_step();

-- The audit trail names a customer by the HMAC of the key alone.
create function cameo.audit_erasure() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform cameo.append_audit(new.actor, new.tenant, null, 'customer.erasure_requested',
            new.erasure::text,
            jsonb_build_object('fingerprint_int', encode(new.fingerprint_int, 'hex'),
                'fingerprint_string', encode(new.fingerprint_string, 'hex'),
                'services', new.services, 'reason', new.reason),
            new.origin);
        return null;
    end if;
    perform cameo.append_audit(null, new.tenant, null, 'customer.erased', new.erasure::text,
        jsonb_build_object('fingerprint_int', encode(new.fingerprint_int, 'hex'),
            'fingerprint_string', encode(new.fingerprint_string, 'hex'),
            'places', (select jsonb_object_agg(place, told) from (
                select place, jsonb_build_object('searched', count(*), 'rows_removed', sum(rows_removed),
                           'rows_found_again', coalesce(sum(rows_found_again), 0)) as told
                from cameo.erasure_steps where erasure = new.erasure group by place) places)));
    return null;
end $$;

create constraint trigger new_erasures_are_audited after insert on cameo.erasures
    deferrable initially deferred for each row execute function cameo.audit_erasure();
create constraint trigger erasures_are_audited after update of state on cameo.erasures
    deferrable initially deferred for each row when (new.state is distinct from old.state)
    execute function cameo.audit_erasure();

create function cameo.audit_suppression() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.lifted_by, new.tenant, new.service, 'suppression.lifted',
        encode(new.fingerprint, 'hex'),
        jsonb_build_object('suppression', new.suppression, 'key_type', new.key_type,
            'reason', new.lift_reason));
    return null;
end $$;

create constraint trigger suppressions_are_audited after update on cameo.suppressions
    deferrable initially deferred for each row execute function cameo.audit_suppression();

-- Customers that a run left out because they were erased.
alter table cameo.runs
    add column rows_suppressed bigint not null default 0 check (rows_suppressed >= 0),
    drop constraint runs_counts_reconcile,
    add constraint runs_counts_reconcile check (
        state not in ('published', 'superseded', 'shadowed')
        or (rows_read is not null and rows_read = rows_scored + rows_quarantined + rows_suppressed
            and generation is not null));
