-- Runs and the due instants from which they come.

create table cameo.runs (
    run                 bigint generated always as identity primary key,
    tenant              text not null,
    service             text not null,
    release             text not null,
    due_at              timestamptz not null,
    trigger             text not null check (trigger in ('schedule', 'manual')),
    requested_by        text,
    idempotency_key     text,
    state               text not null default 'queued' check (state in
        ('queued', 'running', 'published', 'superseded', 'halted', 'failed', 'cancelled')),
    -- Rises with every claim; a write of an older claim is refused.
    epoch               integer not null default 0 check (epoch >= 0),
    attempt             integer not null default 0 check (attempt >= 0),
    attempts_max        integer not null check (attempts_max >= 1),
    not_before          timestamptz not null default now(),
    lease_expires_at    timestamptz,
    worker              text,
    reason              jsonb,
    progress            jsonb,
    rows_read           bigint,
    rows_scored         bigint,
    rows_quarantined    bigint,
    generation          bigint,
    created_at          timestamptz not null default now(),
    started_at          timestamptz,
    finished_at         timestamptz,
    unique (tenant, service, due_at),
    unique (tenant, service, idempotency_key),
    foreign key (tenant, service) references cameo.services,
    foreign key (tenant, service, release) references cameo.releases,
    constraint runs_manual_has_key check ((trigger = 'manual') = (idempotency_key is not null)),
    constraint runs_lease_while_running check ((state = 'running') = (lease_expires_at is not null)),
    constraint runs_finish_is_timed
        check ((state in ('queued', 'running')) = (finished_at is null)),
    constraint runs_end_has_reason
        check (state not in ('halted', 'failed', 'cancelled') or reason is not null),
    constraint runs_counts_reconcile check (
        state not in ('published', 'superseded')
        or (rows_read is not null and rows_read = rows_scored + rows_quarantined
            and generation is not null))
);

create index runs_queue on cameo.runs (tenant, due_at, run) where state = 'queued';
create index runs_leases on cameo.runs (lease_expires_at) where state = 'running';
create index runs_by_service on cameo.runs (tenant, service, run desc);
-- One running run per service.
create unique index runs_one_running on cameo.runs (tenant, service) where state = 'running';

-- The transition table of cameo_domain::RunState, so that no code path can leave it.
create function cameo.check_run() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'run % cannot be deleted', old.run using errcode = 'CM002';
    end if;
    if old.state not in ('queued', 'running') then
        raise exception 'run % is % and a finished run never changes', old.run, old.state
            using errcode = 'CM002';
    end if;
    if (new.run, new.tenant, new.service, new.release, new.due_at, new.trigger)
        is distinct from (old.run, old.tenant, old.service, old.release, old.due_at, old.trigger)
    then
        raise exception 'run %: what it is about never changes', old.run using errcode = 'CM002';
    end if;
    if new.state is distinct from old.state and (old.state, new.state) not in (
        ('queued', 'running'), ('queued', 'cancelled'),
        ('running', 'queued'), ('running', 'published'), ('running', 'superseded'),
        ('running', 'halted'), ('running', 'failed'))
    then
        raise exception 'run %: no step from % to %', old.run, old.state, new.state
            using errcode = 'CM002';
    end if;
    if old.state = 'queued' and new.state = 'running' then
        if new.epoch <> old.epoch + 1 then
            raise exception 'run %: a claim raises the epoch by one', old.run
                using errcode = 'CM002';
        end if;
    elsif new.epoch <> old.epoch then
        raise exception 'run %: only a claim raises the epoch', old.run using errcode = 'CM002';
    end if;
    return new;
end $$;

create trigger runs_keep_their_table before update or delete on cameo.runs
    for each row execute function cameo.check_run();

create function cameo.check_new_run() returns trigger language plpgsql as $$
begin
    if new.state <> 'queued' or new.epoch <> 0 then
        raise exception 'a run starts queued at epoch 0' using errcode = 'CM002';
    end if;
    return new;
end $$;

create trigger runs_start_queued before insert on cameo.runs
    for each row execute function cameo.check_new_run();

-- Every scheduled instant ends as exactly one of three outcomes.
create table cameo.due_instants (
    tenant              text not null,
    service             text not null,
    due_at              timestamptz not null,
    outcome             text not null,
    run                 bigint references cameo.runs,
    coalesced_into      timestamptz,
    reason              text,
    decided_at          timestamptz not null default now(),
    primary key (tenant, service, due_at),
    foreign key (tenant, service) references cameo.services,
    constraint due_instants_have_one_outcome check (case outcome
        when 'run' then run is not null and coalesced_into is null and reason is null
        when 'coalesced' then run is null and coalesced_into > due_at and reason is null
        when 'missed' then run is null and coalesced_into is null and reason <> ''
        else false end is true)
);

create trigger due_instants_are_decided_once before update or delete on cameo.due_instants
    for each row execute function cameo.refuse_change();

-- Rows that were read but not scored, with the reason. A sample: the run holds the full count.
create table cameo.quarantine (
    run                 bigint not null references cameo.runs,
    epoch               integer not null,
    ordinal             integer not null,
    key                 text,
    column_name         text,
    reason              text not null,
    primary key (run, epoch, ordinal)
);
