-- Erasures reach the members of segments, and none is done while a file lies anywhere that had the customer.

-- What names a materialisation among those of all segments: the subject of a step of an erasure.
alter table cameo.segment_materialisations
    add column materialisation bigint generated always as identity unique;

alter table cameo.segments
    -- Files that are or may be in the artifact store and that nobody may read: who made them was told that
    -- they are out of date. Whoever holds the segment next deletes them.
    add column unwanted text[] not null default '{}',
    -- A customer was erased since the last claim: whoever made members then is refused.
    add column outdated boolean not null default false;

-- By which a receipt finds what the audit trail says of its erasure.
create index audit_of_erasures on cameo.audit (tenant, subject)
    where action in ('customer.erasure_requested', 'customer.erased');

-- Whether files are still in the artifact store from which an erasure took the customer.
create function cameo.erased_files_left(e cameo.erasures) returns boolean language sql stable as $$
    select exists (
        select from cameo.erasure_steps s join cameo.snapshots f on f.generation = s.subject
        where s.erasure = e.erasure and s.place = 'snapshot' and f.unwanted <> '{}')
    or exists (
        select from cameo.erasure_steps s join cameo.segment_materialisations m
            on m.materialisation = s.subject
        where s.erasure = e.erasure and s.place = 'segment'
          and m.dropped_at is not null and m.removed_at is null)
    or exists (
        select from cameo.segments g where g.tenant = e.tenant and g.unwanted <> '{}')
$$;

create or replace function cameo.check_erasure() returns trigger language plpgsql as $$
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
                   and (s.state <> 'done' or s.place <> 'run' and s.rows_found_again is distinct from 0))
        or cameo.erased_files_left(new))
    then
        raise exception 'erasure % has places that are not done, or not found empty', new.erasure
            using errcode = 'CM017';
    end if;
    return new;
end $$;

-- Erasures that go on were requested when nobody looked into members: what there is now may have them.
update cameo.segments g
set epoch = epoch + 1, outdated = true, unwanted = array_remove(array[announced], null), announced = null
where exists (select from cameo.erasures e where e.state = 'erasing' and e.tenant = g.tenant);
insert into cameo.erasure_steps (erasure, place, subject)
select e.erasure, 'segment', m.materialisation
from cameo.erasures e join cameo.segment_materialisations m using (tenant)
where e.state = 'erasing' and m.removed_at is null
  and (e.services is null or m.generations ?| e.services);
