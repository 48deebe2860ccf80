-- Keys of some services alone, keys that take over from others, and what groups of people may do.

alter table cameo.api_keys
    -- Null: all services of the tenant, also those that come later.
    add column services     text[],
    -- The key that takes over: made when this one was rotated.
    add column successor    text unique references cameo.api_keys (prefix),
    add constraint api_keys_name_services_of_a_tenant
        check (services is null or (tenant is not null and cardinality(services) > 0)),
    add constraint api_keys_hand_over_to_another check (successor <> prefix),
    -- What was handed over ends.
    add constraint api_keys_end_after_a_rotation check (successor is null or expires_at is not null);

-- `ACCESS` of the tenant's `tenant.yaml`.
alter table cameo.tenants add column access jsonb not null default '{}'
    check (jsonb_typeof(access) = 'object');

-- A key acts for one tenant, for some of its services and with some scopes as long as it lives: more is
-- another key, whose making is an entry of its own in the audit trail.
create function cameo.keep_api_key() returns trigger language plpgsql as $$
begin
    if new.prefix is distinct from old.prefix or new.tenant is distinct from old.tenant
        or new.scopes is distinct from old.scopes or new.services is distinct from old.services then
        raise exception 'what key % may do never changes', old.prefix using errcode = 'CM013';
    end if;
    if old.successor is not null and new.successor is distinct from old.successor then
        raise exception 'key % was rotated already', old.prefix using errcode = 'CM013';
    end if;
    return new;
end $$;

create trigger api_keys_keep_what_they_may_do before update on cameo.api_keys
    for each row execute function cameo.keep_api_key();

-- The audit trail tells of the services and of rotations.
create or replace function cameo.audit_api_key() returns trigger language plpgsql as $$
declare
    -- The hash is nobody's business; that it was replaced is.
    hidden constant text[] := '{hash,last_used_at}';
    replaced jsonb := '{}';
begin
    case tg_op
    when 'INSERT' then
        perform cameo.append_audit(new.created_by, new.tenant, null, 'key.created', new.prefix,
            jsonb_build_object('name', new.name, 'expires_at', new.expires_at,
                'admin', new.tenant is null, 'scopes', new.scopes, 'services', new.services));
    when 'UPDATE' then
        if new.hash is distinct from old.hash then
            replaced := '{"hash": "replaced"}';
        end if;
        perform cameo.append_audit(null, new.tenant, null,
            case when old.revoked_at is null and new.revoked_at is not null then 'key.revoked'
                when old.successor is null and new.successor is not null then 'key.rotated'
                else 'key.changed' end,
            new.prefix,
            cameo.audit_difference(to_jsonb(old) - hidden, to_jsonb(new) - hidden) || replaced);
    when 'DELETE' then
        perform cameo.append_audit(null, old.tenant, null, 'key.deleted', old.prefix, '{}');
    end case;
    return null;
end $$;

-- Who is behind an actor: itself, who made its key over the API, and the key that it took over from. An
-- operator on the command line hands keys on to others; a person or key that makes one can use it.
create function cameo.behind(actor text) returns setof text language sql stable as $$
    with recursive found(actor) as (
        select behind.actor
        union
        select before.actor
        from found
        join cameo.api_keys k on found.actor = 'key:' || k.prefix
        cross join lateral (
            select k.created_by as actor where k.created_by like 'key:%' or k.created_by like 'oidc:%'
            union all
            select 'key:' || p.prefix from cameo.api_keys p where p.successor = k.prefix) before
    )
    select found.actor from found
$$;

-- Whether two actors may be one person, who must not approve what they asked for.
create function cameo.may_be_one_person(one text, other text) returns boolean language sql stable
    return exists (select cameo.behind(one) intersect select cameo.behind(other));

create function cameo.check_approval() returns trigger language plpgsql as $$
begin
    if exists (
        select from cameo.promotion_requests r
        where r.request = new.request and cameo.may_be_one_person(r.actor, new.actor))
    then
        raise exception 'request % of release % is not for % to approve',
            new.request, new.release, new.actor using errcode = 'CM013';
    end if;
    return new;
end $$;

create trigger promotions_are_approved_by_another before insert on cameo.promotions
    for each row when (new.action = 'approve') execute function cameo.check_approval();
