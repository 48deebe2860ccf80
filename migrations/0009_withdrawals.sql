-- The end of an archived service: after its time its pointer refers to nothing, and its tables go.

alter table cameo.publications
    alter column generation drop not null,
    drop constraint publications_action_check,
    add constraint publications_action_check check (action in ('publish', 'rollback', 'withdraw')),
    add constraint publications_withdraw_to_nothing
        check ((action = 'withdraw') = (generation is null));

-- Of a withdrawal the audit trail names what was served until then.
create or replace function cameo.audit_publication() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.actor, new.tenant, new.service,
        case new.action when 'publish' then 'generation.published'
            when 'withdraw' then 'generation.withdrawn' else 'generation.rolled_back' end,
        coalesce(new.generation, new.previous)::text,
        jsonb_build_object('publication', new.publication, 'previous', new.previous));
    return null;
end $$;
