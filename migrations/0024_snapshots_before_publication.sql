-- Snapshots may be made before their generations are published: the row is then there already when the
-- generation becomes current. One that never does goes as any other: dropped, its file is to be deleted.

create or replace function cameo.follow_generation() returns trigger language plpgsql as $$
begin
    if new.state = 'published' and old.state <> 'published' then
        insert into cameo.snapshots (generation, tenant, service)
        values (new.generation, new.tenant, new.service)
        on conflict (generation) do nothing;
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
