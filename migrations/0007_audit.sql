-- The audit trail: who changed what, when and from where. Rows are added by triggers, so that no code
-- path can forget one, and each carries the hash of the one before, so that none can be edited,
-- dropped or moved unnoticed.

create table cameo.audit (
    -- Counts from 1 without a gap: the number comes from the head, not from a sequence.
    entry               bigint primary key,
    at                  timestamptz not null,
    actor               text not null,
    origin              text not null,
    tenant              text,
    service             text,
    action              text not null,
    subject             text not null,
    detail              jsonb not null,
    previous_hash       text not null,
    hash                text not null
);

create index audit_by_service on cameo.audit (tenant, service, entry desc);
create index audit_by_tenant on cameo.audit (tenant, entry desc);

-- The head of the chain: how many entries there are and the hash of the last one.
create table cameo.audit_head (
    only_row            boolean primary key default true check (only_row),
    entries             bigint not null,
    hash                text not null
) with (fillfactor = 10);

insert into cameo.audit_head (entries, hash) values (0, repeat('0', 64));

-- Heads that were written into the artifact store, out of reach of whoever can write here.
create table cameo.audit_anchors (
    entry               bigint primary key,
    hash                text not null,
    written_at          timestamptz not null default clock_timestamp()
);

-- A text with its length, so that moving a byte from one field to the next changes the whole.
create function cameo.audit_field(value text) returns text language sql immutable
    return case when value is null then '-:' else octet_length(value) || ':' || value end;

-- The hash of an entry over all of its fields, in the order of the table.
create function cameo.audit_hash(a cameo.audit) returns text language sql stable
    return encode(sha256(convert_to(
        cameo.audit_field(a.entry::text)
        || cameo.audit_field((extract(epoch from a.at) * 1000000)::bigint::text)
        || cameo.audit_field(a.actor) || cameo.audit_field(a.origin)
        || cameo.audit_field(a.tenant) || cameo.audit_field(a.service)
        || cameo.audit_field(a.action) || cameo.audit_field(a.subject)
        || cameo.audit_field(a.detail::text) || cameo.audit_field(a.previous_hash),
        'UTF8')), 'hex');

-- Appends to the chain. Everything that places an entry in it is decided here, under the lock of the
-- head, whatever the insert says.
create function cameo.chain_audit() returns trigger language plpgsql as $$
declare
    head cameo.audit_head;
begin
    select * into strict head from cameo.audit_head for update;
    new.entry := head.entries + 1;
    new.at := clock_timestamp();
    new.previous_hash := head.hash;
    new.hash := cameo.audit_hash(new);
    update cameo.audit_head set entries = new.entry, hash = new.hash;
    return new;
end $$;

create trigger audit_is_chained before insert on cameo.audit
    for each row execute function cameo.chain_audit();
create trigger audit_is_only_added_to before update or delete on cameo.audit
    for each row execute function cameo.refuse_change();
create trigger audit_is_not_truncated before truncate on cameo.audit
    for each statement execute function cameo.refuse_change();
create trigger audit_anchors_are_only_added_to before update or delete on cameo.audit_anchors
    for each row execute function cameo.refuse_change();

create function cameo.check_audit_head() returns trigger language plpgsql as $$
begin
    if tg_op <> 'UPDATE' or new.entries <> old.entries + 1 then
        raise exception 'the head of the audit trail moves only with an entry' using errcode = 'CM007';
    end if;
    return new;
end $$;

create trigger audit_head_follows_entries before insert or update or delete on cameo.audit_head
    for each row execute function cameo.check_audit_head();

-- What a transaction says about itself (cameo_store::By); null where it says nothing.
create function cameo.audit_said(what text) returns text language sql stable
    return nullif(current_setting('cameo.' || what, true), '');

-- Adds an entry. `actor` and `origin` are what the changed row names; else the transaction says it; else
-- it is somebody with a connection of their own, of whom the database knows the user.
create function cameo.append_audit(
    actor text, tenant text, service text, action text, subject text, detail jsonb,
    origin text default null
) returns void language sql as $$
    insert into cameo.audit (actor, origin, tenant, service, action, subject, detail)
    values (coalesce(actor, cameo.audit_said('actor'), 'postgres:' || session_user),
            coalesce(origin, cameo.audit_said('origin'), 'database'),
            tenant, service, action, subject, jsonb_strip_nulls(detail))
$$;

-- Which columns changed, from what to what.
create function cameo.audit_difference(before jsonb, after jsonb) returns jsonb language sql immutable
    return (select coalesce(jsonb_object_agg(key, jsonb_build_object(
                'from', before -> key, 'to', value)), '{}')
            from jsonb_each(after) where value is distinct from before -> key);

-- All of the triggers below fire at commit: the head of the chain is then the last lock that a
-- transaction takes, and is held for no longer than the commit lasts. Whoever waits for it holds
-- nothing that its holder could still want, so there is no deadlock, and neither a claim nor a
-- publication holds up the others while it works.

create function cameo.audit_tenant() returns trigger language plpgsql as $$
begin
    case tg_op
    when 'INSERT' then
        perform cameo.append_audit(null, new.tenant, null, 'tenant.created', new.tenant,
            to_jsonb(new) - '{tenant,last_claim_at,created_at}'::text[]);
    when 'UPDATE' then
        perform cameo.append_audit(null, new.tenant, null, 'tenant.changed', new.tenant,
            cameo.audit_difference(to_jsonb(old) - 'last_claim_at', to_jsonb(new) - 'last_claim_at'));
    when 'DELETE' then
        perform cameo.append_audit(null, old.tenant, null, 'tenant.deleted', old.tenant, '{}');
    end case;
    return null;
end $$;

create constraint trigger new_tenants_are_audited after insert or delete on cameo.tenants
    deferrable initially deferred for each row execute function cameo.audit_tenant();
-- A claim notes its time in the row, which is no change of what the tenant is granted.
create constraint trigger tenants_are_audited after update on cameo.tenants
    deferrable initially deferred for each row
    when (to_jsonb(old) - 'last_claim_at' is distinct from to_jsonb(new) - 'last_claim_at')
    execute function cameo.audit_tenant();

create function cameo.audit_release() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.applied_by, new.tenant, new.service, 'release.applied', new.release,
        jsonb_build_object('version', new.version, 'config_hash', new.config_hash,
            'sql_hash', new.sql_hash, 'model_hash', new.model_hash, 'git_commit', new.git_commit));
    return null;
end $$;

create constraint trigger releases_are_audited after insert on cameo.releases
    deferrable initially deferred for each row execute function cameo.audit_release();

create function cameo.audit_service() returns trigger language plpgsql as $$
declare
    -- The schedule's place and the view move by themselves; moves of the pointer are publications.
    moving constant text[] := '{next_due_at,view_generation,current_generation}';
begin
    case tg_op
    when 'INSERT' then
        perform cameo.append_audit(null, new.tenant, new.service, 'service.created', new.service,
            jsonb_build_object('release', new.release));
    when 'UPDATE' then
        perform cameo.append_audit(null, new.tenant, new.service, 'service.changed', new.service,
            cameo.audit_difference(to_jsonb(old) - moving, to_jsonb(new) - moving));
    when 'DELETE' then
        perform cameo.append_audit(null, old.tenant, old.service, 'service.deleted', old.service, '{}');
    end case;
    return null;
end $$;

create constraint trigger new_services_are_audited after insert or delete on cameo.services
    deferrable initially deferred for each row execute function cameo.audit_service();
create constraint trigger services_are_audited after update on cameo.services
    deferrable initially deferred for each row
    when (to_jsonb(old) - '{next_due_at,view_generation,current_generation}'::text[]
        is distinct from to_jsonb(new) - '{next_due_at,view_generation,current_generation}'::text[])
    execute function cameo.audit_service();

create function cameo.audit_promotion() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.actor, new.tenant, new.service, 'release.moved', new.release,
        jsonb_build_object('promotion', new.promotion, 'from', new.from_stage, 'to', new.to_stage,
            'action', new.action, 'reason', new.reason, 'request', new.request),
        new.origin);
    return null;
end $$;

create constraint trigger promotions_are_audited after insert on cameo.promotions
    deferrable initially deferred for each row execute function cameo.audit_promotion();

create function cameo.audit_promotion_request() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.actor, new.tenant, new.service, 'approval.requested', new.release,
        jsonb_build_object('request', new.request, 'reason', new.reason), new.origin);
    return null;
end $$;

create constraint trigger promotion_requests_are_audited after insert on cameo.promotion_requests
    deferrable initially deferred for each row execute function cameo.audit_promotion_request();

create function cameo.audit_run() returns trigger language plpgsql as $$
begin
    if tg_op = 'INSERT' then
        perform cameo.append_audit(new.requested_by, new.tenant, new.service, 'run.requested',
            new.run::text, jsonb_build_object('trigger', new.trigger, 'due_at', new.due_at,
                'release', new.release, 'purpose', new.purpose, 'idempotency_key', new.idempotency_key));
        return null;
    end if;
    -- A lease is ended by another worker than the one that held it, and a run withdrawn by somebody
    -- who did not ask for it: what the transaction says goes before what the row remembers.
    perform cameo.append_audit(
        coalesce(case new.state when 'running' then new.worker end, cameo.audit_said('actor'),
            old.worker),
        new.tenant, new.service,
        'run.' || case new.state when 'running' then 'claimed' when 'queued' then 'requeued'
            else new.state end,
        new.run::text,
        jsonb_build_object('attempt', new.attempt, 'epoch', new.epoch, 'worker', new.worker,
            'generation', new.generation,
            'reason', case when new.state <> 'running' then new.reason end));
    return null;
end $$;

create constraint trigger new_runs_are_audited after insert on cameo.runs
    deferrable initially deferred for each row execute function cameo.audit_run();
-- Heartbeats name no state and cost nothing here.
create constraint trigger runs_are_audited after update of state on cameo.runs
    deferrable initially deferred for each row when (new.state is distinct from old.state)
    execute function cameo.audit_run();

create function cameo.audit_publication() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.actor, new.tenant, new.service,
        case new.action when 'publish' then 'generation.published' else 'generation.rolled_back' end,
        new.generation::text,
        jsonb_build_object('publication', new.publication, 'previous', new.previous));
    return null;
end $$;

create constraint trigger publications_are_audited after insert on cameo.publications
    deferrable initially deferred for each row execute function cameo.audit_publication();

create function cameo.audit_api_key() returns trigger language plpgsql as $$
declare
    -- The hash is nobody's business; that it was replaced is.
    hidden constant text[] := '{hash,last_used_at}';
    replaced jsonb := '{}';
begin
    case tg_op
    when 'INSERT' then
        perform cameo.append_audit(new.created_by, new.tenant, null, 'key.created', new.prefix,
            jsonb_build_object('name', new.name, 'expires_at', new.expires_at,
                'admin', new.tenant is null));
    when 'UPDATE' then
        if new.hash is distinct from old.hash then
            replaced := '{"hash": "replaced"}';
        end if;
        perform cameo.append_audit(null, new.tenant, null,
            case when old.revoked_at is null and new.revoked_at is not null
                then 'key.revoked' else 'key.changed' end,
            new.prefix,
            cameo.audit_difference(to_jsonb(old) - hidden, to_jsonb(new) - hidden) || replaced);
    when 'DELETE' then
        perform cameo.append_audit(null, old.tenant, null, 'key.deleted', old.prefix, '{}');
    end case;
    return null;
end $$;

create constraint trigger new_api_keys_are_audited after insert or delete on cameo.api_keys
    deferrable initially deferred for each row execute function cameo.audit_api_key();
-- A key's last use is no change of it.
create constraint trigger api_keys_are_audited after update on cameo.api_keys
    deferrable initially deferred for each row
    when (to_jsonb(old) - 'last_used_at' is distinct from to_jsonb(new) - 'last_used_at')
    execute function cameo.audit_api_key();
