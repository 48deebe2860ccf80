-- What a key may do within its tenant; `all` includes what later versions can do.

alter table cameo.api_keys
    add column scopes text[] not null default '{all}',
    add constraint api_keys_have_a_scope check (
        cardinality(scopes) > 0
        and scopes <@ array['read', 'run', 'deploy', 'promote', 'all']);

-- The audit trail tells what a new key may do.
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
                'admin', new.tenant is null, 'scopes', new.scopes));
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
