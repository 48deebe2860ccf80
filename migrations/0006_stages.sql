-- Where each release stands, who moved it, and runs beside production.

alter table cameo.releases
    add column protected boolean not null default false,
    add column shadow_runs_min integer not null default 0 check (shadow_runs_min >= 0);

-- Null: no release is in production, so nothing is due. What is published stays served.
alter table cameo.services alter column release drop not null;

-- Somebody wants a release in production; somebody else approves it.
create table cameo.promotion_requests (
    request             bigint generated always as identity primary key,
    tenant              text not null,
    service             text not null,
    release             text not null,
    actor               text not null,
    origin              text not null,
    reason              text,
    at                  timestamptz not null default clock_timestamp(),
    foreign key (tenant, service, release) references cameo.releases
);

create index promotion_requests_by_service on cameo.promotion_requests (tenant, service, request desc);

create trigger promotion_requests_are_a_ledger before update or delete on cameo.promotion_requests
    for each row execute function cameo.refuse_change();

-- Every move of a release from one stage to another. The ledger comes first: the stages below are
-- written by its trigger alone, so that they cannot tell anything else.
create table cameo.promotions (
    promotion           bigint generated always as identity primary key,
    tenant              text not null,
    service             text not null,
    release             text not null,
    -- Null: the release is new.
    from_stage          text,
    to_stage            text not null,
    -- apply: by its bundle; promote, approve, archive, rollback: by a person; replace: by the release
    -- that took its place.
    action              text not null
        check (action in ('apply', 'promote', 'approve', 'replace', 'rollback', 'archive')),
    actor               text not null,
    origin              text not null,
    reason              text,
    -- What was approved, by the actor.
    request             bigint unique references cameo.promotion_requests,
    at                  timestamptz not null default clock_timestamp(),
    foreign key (tenant, service, release) references cameo.releases,
    constraint promotions_approve_a_request check ((action = 'approve') = (request is not null))
);

create index promotions_by_service on cameo.promotions (tenant, service, promotion desc);

create trigger promotions_are_a_ledger before update or delete on cameo.promotions
    for each row execute function cameo.refuse_change();

create table cameo.release_stages (
    tenant              text not null,
    service             text not null,
    release             text not null,
    stage               text not null check (stage in
        ('candidate', 'shadow', 'canary', 'production', 'archived')),
    since               timestamptz not null,
    promotion           bigint not null references cameo.promotions,
    primary key (tenant, service, release),
    foreign key (tenant, service, release) references cameo.releases
);

-- One release of a service serves, and one of each kind runs beside it.
create unique index release_stages_one_each on cameo.release_stages (tenant, service, stage)
    where stage in ('shadow', 'canary', 'production');

-- The transition table of cameo_domain::Stage, so that no code path can leave it.
create function cameo.check_promotion() returns trigger language plpgsql as $$
declare
    found_stage text;
begin
    select stage into found_stage from cameo.release_stages
        where (tenant, service, release) = (new.tenant, new.service, new.release) for update;
    if found_stage is distinct from new.from_stage then
        raise exception 'release % is %, not %', new.release, found_stage, new.from_stage
            using errcode = 'CM006';
    end if;
    if (coalesce(new.from_stage, 'new'), new.to_stage) not in (
        ('new', 'candidate'), ('new', 'shadow'), ('new', 'production'),
        ('candidate', 'shadow'), ('candidate', 'canary'), ('candidate', 'production'),
        ('candidate', 'archived'),
        ('shadow', 'candidate'), ('shadow', 'canary'), ('shadow', 'production'),
        ('shadow', 'archived'),
        ('canary', 'candidate'), ('canary', 'shadow'), ('canary', 'production'),
        ('canary', 'archived'),
        ('production', 'archived'),
        ('archived', 'candidate'), ('archived', 'shadow'), ('archived', 'production'))
    then
        raise exception 'release %: no step from % to %', new.release, new.from_stage, new.to_stage
            using errcode = 'CM006';
    end if;
    if new.action = 'approve' and not exists (
        select from cameo.promotion_requests r
        where r.request = new.request and r.actor <> new.actor
          and (r.tenant, r.service, r.release) = (new.tenant, new.service, new.release))
    then
        raise exception 'request % of release % is not for % to approve',
            new.request, new.release, new.actor using errcode = 'CM006';
    end if;
    return new;
end $$;

create trigger promotions_keep_their_table before insert on cameo.promotions
    for each row execute function cameo.check_promotion();

create function cameo.move_stage() returns trigger language plpgsql as $$
begin
    insert into cameo.release_stages (tenant, service, release, stage, since, promotion)
    values (new.tenant, new.service, new.release, new.to_stage, new.at, new.promotion)
    on conflict (tenant, service, release) do update
        set stage = excluded.stage, since = excluded.since, promotion = excluded.promotion;
    return null;
end $$;

create trigger promotions_move_stages after insert on cameo.promotions
    for each row execute function cameo.move_stage();

create function cameo.check_stage() returns trigger language plpgsql as $$
begin
    if pg_trigger_depth() < 2 then
        raise exception 'stages follow the ledger of promotions' using errcode = 'CM006';
    end if;
    return new;
end $$;

create trigger release_stages_follow_promotions before insert or update or delete
    on cameo.release_stages for each row execute function cameo.check_stage();

-- What stands in production as a release, stands there as the service's release.
create function cameo.check_production() returns trigger language plpgsql as $$
declare
    staged text;
    pointed text;
begin
    select release into staged from cameo.release_stages
        where tenant = new.tenant and service = new.service and stage = 'production';
    select release into pointed from cameo.services
        where tenant = new.tenant and service = new.service;
    if staged is distinct from pointed then
        raise exception 'service %/%: % is in production, % is run',
            new.tenant, new.service, staged, pointed using errcode = 'CM006';
    end if;
    return null;
end $$;

-- Releases of before: what a service runs is in production, the others were replaced.
insert into cameo.promotions (tenant, service, release, from_stage, to_stage, action, actor, origin, at)
    select tenant, service, release, null, 'candidate', 'apply', applied_by, 'migration', applied_at
    from cameo.releases order by applied_at, release;
insert into cameo.promotions (tenant, service, release, from_stage, to_stage, action, actor, origin, at)
    select r.tenant, r.service, r.release, 'candidate',
           case when s.release = r.release then 'production' else 'archived' end,
           case when s.release = r.release then 'apply' else 'replace' end,
           r.applied_by, 'migration', r.applied_at
    from cameo.releases r join cameo.services s using (tenant, service)
    order by r.applied_at, r.release;

create constraint trigger services_follow_stages after insert or update of release on cameo.services
    deferrable initially deferred for each row execute function cameo.check_production();
create constraint trigger stages_follow_services after insert or update on cameo.release_stages
    deferrable initially deferred for each row execute function cameo.check_production();

-- Runs beside production. Both kinds have one run for each instant; a shadow run ends as `shadowed`:
-- complete, kept to be compared, published never.
alter table cameo.runs
    add column purpose text not null default 'publish' check (purpose in ('publish', 'shadow')),
    -- When the latest attempt was claimed, and the most memory that its worker had while it ran.
    add column attempt_started_at timestamptz,
    add column memory_peak_bytes bigint check (memory_peak_bytes > 0),
    drop constraint runs_manual_has_key,
    add constraint runs_manual_has_key check (
        purpose = 'shadow' or (trigger = 'manual') = (idempotency_key is not null)),
    drop constraint runs_tenant_service_due_at_key,
    drop constraint runs_state_check,
    add constraint runs_state_check check (state in
        ('queued', 'running', 'published', 'superseded', 'shadowed', 'halted', 'failed', 'cancelled')),
    add constraint runs_end_fits_purpose check (case purpose
        when 'publish' then state <> 'shadowed'
        else state not in ('published', 'superseded') end),
    drop constraint runs_counts_reconcile,
    add constraint runs_counts_reconcile check (
        state not in ('published', 'superseded', 'shadowed')
        or (rows_read is not null and rows_read = rows_scored + rows_quarantined
            and generation is not null));

-- Production never waits for what runs beside it.
drop index cameo.runs_one_running;
create unique index runs_one_running on cameo.runs (tenant, service, purpose)
    where state = 'running';
create unique index runs_one_for_each_instant on cameo.runs (tenant, service, due_at)
    where purpose = 'publish';
create unique index runs_one_shadow_for_each_instant on cameo.runs (tenant, service, release, due_at)
    where purpose = 'shadow';

create or replace function cameo.check_run() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'run % cannot be deleted', old.run using errcode = 'CM002';
    end if;
    if old.state not in ('queued', 'running') then
        raise exception 'run % is % and a finished run never changes', old.run, old.state
            using errcode = 'CM002';
    end if;
    if (new.run, new.tenant, new.service, new.release, new.due_at, new.trigger, new.purpose)
        is distinct from
       (old.run, old.tenant, old.service, old.release, old.due_at, old.trigger, old.purpose)
    then
        raise exception 'run %: what it is about never changes', old.run using errcode = 'CM002';
    end if;
    if new.state is distinct from old.state and (old.state, new.state) not in (
        ('queued', 'running'), ('queued', 'cancelled'),
        ('running', 'queued'), ('running', 'published'), ('running', 'superseded'),
        ('running', 'shadowed'), ('running', 'halted'), ('running', 'failed'))
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

alter table cameo.generations
    drop constraint generations_state_check,
    add constraint generations_state_check
        check (state in ('loading', 'published', 'retired', 'shadowed', 'abandoned')),
    drop constraint generations_sealed_before_published,
    add constraint generations_sealed_before_published check (
        state not in ('published', 'retired', 'shadowed')
        or (sealed_at is not null and rows is not null and checksum is not null));

-- How a shadow run compared with production's run of the same instant. Decided once.
create table cameo.verdicts (
    run                 bigint primary key references cameo.runs,
    tenant              text not null,
    service             text not null,
    release             text not null,
    due_at              timestamptz not null,
    -- Null where there was nothing to compare with, or nothing that could be compared.
    generation          bigint references cameo.generations,
    production_run      bigint references cameo.runs,
    production_generation bigint references cameo.generations,
    passed              boolean not null,
    -- [{"check": …, "subject": …, "passed": …, "found": …, "limit": …}, …]
    checks              jsonb not null check (jsonb_typeof(checks) = 'array'),
    at                  timestamptz not null default clock_timestamp(),
    foreign key (tenant, service, release) references cameo.releases
);

create index verdicts_by_release on cameo.verdicts (tenant, service, release, due_at desc);

create function cameo.check_verdict() returns trigger language plpgsql as $$
begin
    if not exists (
        select from cameo.runs r
        where r.run = new.run and r.purpose = 'shadow' and r.state in ('shadowed', 'halted', 'failed')
          and (r.tenant, r.service, r.release, r.due_at)
              = (new.tenant, new.service, new.release, new.due_at))
    then
        raise exception 'run % is no shadow run of % that has ended', new.run, new.release
            using errcode = 'CM006';
    end if;
    return new;
end $$;

create trigger verdicts_are_of_shadow_runs before insert on cameo.verdicts
    for each row execute function cameo.check_verdict();
create trigger verdicts_are_decided_once before update or delete on cameo.verdicts
    for each row execute function cameo.refuse_change();

-- How many of a release's latest comparisons passed, up to the first that did not.
create function cameo.comparisons_passed(of_tenant text, of_service text, of_release text)
    returns bigint language sql stable as $$
    select count(*) from (
        select bool_and(v.passed) over (order by v.due_at desc, v.run desc) as passed
        from cameo.verdicts v
        where (v.tenant, v.service, v.release) = (of_tenant, of_service, of_release)) latest
    where latest.passed
$$;
