-- The keys by which the sensitive predictions of each tenant are sealed. Each is wrapped by the operator's
-- master key, which is never in the database: whoever reads this table alone can open nothing.

create table cameo.tenant_keys (
    tenant              text not null references cameo.tenants,
    -- The latest seals; what an older one sealed it still opens.
    version             integer not null check (version >= 1),
    wrapped             text not null,
    -- The name of the master key that wrapped it.
    master              text not null,
    created_at          timestamptz not null default clock_timestamp(),
    primary key (tenant, version)
);

-- A key that is gone takes with it what it sealed. Only by which master key it is wrapped may change.
create function cameo.check_tenant_key() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'version % of the key of tenant % cannot be deleted', old.version, old.tenant
            using errcode = 'CM015';
    end if;
    if (new.tenant, new.version, new.created_at) is distinct from (old.tenant, old.version, old.created_at)
    then
        raise exception 'version % of the key of tenant % stays what it is', old.version, old.tenant
            using errcode = 'CM015';
    end if;
    return new;
end $$;

create trigger tenant_keys_are_kept before update or delete on cameo.tenant_keys
    for each row execute function cameo.check_tenant_key();

create function cameo.audit_tenant_key() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(null, new.tenant, null,
        case tg_op when 'INSERT' then 'tenant_key.created' else 'tenant_key.rewrapped' end,
        new.version::text, jsonb_build_object('master', new.master));
    return null;
end $$;

create constraint trigger tenant_keys_are_audited after insert or update on cameo.tenant_keys
    deferrable initially deferred for each row execute function cameo.audit_tenant_key();
