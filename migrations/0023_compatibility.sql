-- Which binaries may work on this schema, so that old and new ones can run side by side during an upgrade.

create table cameo.schema_compatibility (
    only_row            boolean primary key default true check (only_row),
    -- The number of a migration: a binary that knows it may run on this schema, however much newer that is. A
    -- migration that takes away or changes what older binaries rely on sets it to its own number.
    works_since         bigint not null
);

-- As every later migration will say it: `cameo migrate --check` reads these words before they are run.
insert into cameo.schema_compatibility (works_since) values (0);
update cameo.schema_compatibility set works_since = 23;

create function cameo.check_compatibility() returns trigger language plpgsql as $$
begin
    if tg_op <> 'UPDATE' or new.works_since < old.works_since then
        raise exception 'what an older binary cannot work on any more, it never can again'
            using errcode = 'CM023';
    end if;
    return new;
end $$;

create trigger schema_compatibility_only_rises before insert or update or delete
    on cameo.schema_compatibility for each row execute function cameo.check_compatibility();
