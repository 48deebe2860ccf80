-- What must always hold. Each query gives its breaches; a sound database gives no row.
-- Most of it is enforced by constraints and triggers as well: this page is the second opinion.

select 'a due instant ends as exactly one of run, coalesced, missed' as invariant,
       format('%s/%s %s is %s', tenant, service, due_at, outcome) as detail
from cameo.due_instants
where (outcome = 'run') is distinct from (run is not null)
   or (outcome = 'coalesced') is distinct from (coalesced_into is not null)
   or (outcome = 'missed') is distinct from (reason is not null)
union all
select 'a due instant''s run is of that instant',
       format('%s/%s %s has run %s of %s', d.tenant, d.service, d.due_at, d.run, r.due_at)
from cameo.due_instants d join cameo.runs r on r.run = d.run
where (r.tenant, r.service, r.due_at) <> (d.tenant, d.service, d.due_at)
union all
select 'every scheduled run has its due instant', format('run %s', r.run)
from cameo.runs r
where r.trigger = 'schedule'
  and not exists (
      select from cameo.due_instants d
      where (d.tenant, d.service, d.due_at, d.outcome) = (r.tenant, r.service, r.due_at, 'run')
        and (r.purpose = 'shadow' or d.run = r.run))
union all
select 'one run per service and due instant, and one of each release beside it',
       format('%s/%s %s has %s', tenant, service, due_at, count(*))
from cameo.runs group by tenant, service, due_at, purpose, case purpose when 'shadow' then release end
having count(*) > 1
union all
select 'at most one running run per service, and one beside it',
       format('%s/%s has %s', tenant, service, count(*))
from cameo.runs where state = 'running' group by tenant, service, purpose having count(*) > 1
union all
select 'a run''s epoch counts its claims', format('run %s: epoch %s, attempt %s', run, epoch, attempt)
from cameo.runs where epoch < attempt or (state = 'running' and epoch = 0)
union all
select 'read = scored + quarantined + suppressed',
       format('run %s: %s, %s, %s, %s', run, rows_read, rows_scored, rows_quarantined, rows_suppressed)
from cameo.runs
where state in ('published', 'superseded', 'shadowed')
  and rows_read is distinct from rows_scored + rows_quarantined + rows_suppressed
union all
select 'rows written = rows scored',
       format('run %s scored %s, generation %s has %s', r.run, r.rows_scored, g.generation, g.rows)
from cameo.runs r join cameo.generations g on g.generation = r.generation
-- A service that ranks has one to top_n rows for each customer that was scored.
where (g.rows between r.rows_scored
       and r.rows_scored * coalesce((g.schema -> 1 ->> 'top_n')::bigint, 1)) is not true
union all
select 'a run and its generation end alike',
       format('run %s is %s, generation %s is %s', r.run, r.state, g.generation, g.state)
from cameo.runs r join cameo.generations g on g.run = r.run and g.epoch = r.epoch
where (g.state = 'published') is distinct from (r.state = 'published')
   or (g.state = 'retired') is distinct from (r.state = 'superseded')
   or (g.state = 'shadowed') is distinct from (r.state = 'shadowed')
   or (g.state in ('published', 'retired', 'shadowed')) is distinct from ((r.generation = g.generation) is true)
union all
select 'a generation of an older epoch is abandoned',
       format('generation %s of run %s is %s', g.generation, g.run, g.state)
from cameo.generations g join cameo.runs r using (run)
where g.state in ('published', 'retired', 'shadowed') and g.epoch <> r.epoch
union all
select 'the outbox row exists if and only if the generation is published',
       format('generation %s is %s, in the outbox: %s', g.generation, g.state, o.generation is not null)
from cameo.generations g left join cameo.outbox o using (generation)
where (g.state = 'published') is distinct from (o.generation is not null)
union all
select 'a published generation is in the ledger exactly once',
       format('generation %s: %s times', g.generation, count(p.publication))
from cameo.generations g
left join cameo.publications p on p.generation = g.generation and p.action = 'publish'
where g.state = 'published' group by g.generation having count(p.publication) <> 1
union all
select 'an instant of a service is published at most once',
       format('%s/%s %s: %s generations', tenant, service, due_at, count(*))
from cameo.generations where state = 'published'
group by tenant, service, due_at having count(*) > 1
union all
select 'the pointer refers to a published generation whose table is kept',
       format('%s/%s serves %s (%s, dropped %s)', s.tenant, s.service, g.generation, g.state,
              g.dropped_at)
from cameo.services s join cameo.generations g on g.generation = s.current_generation
where g.state <> 'published' or g.dropped_at is not null
   or (g.tenant, g.service) <> (s.tenant, s.service)
union all
select 'the pointer stands where the ledger''s last entry put it',
       format('%s/%s serves %s, the ledger says %s', s.tenant, s.service, s.current_generation,
              l.generation)
from cameo.services s
left join lateral (
    select p.generation from cameo.publications p
    where p.tenant = s.tenant and p.service = s.service
    order by p.publication desc limit 1) l on true
where s.current_generation is distinct from l.generation
union all
select 'each entry of the ledger starts where the one before it ended',
       format('publication %s: from %s, expected %s', publication, previous, expected)
from (
    select publication, previous,
           lag(generation) over (partition by tenant, service order by publication) as expected
    from cameo.publications) entries
where previous is distinct from expected
union all
select 'an older due instant never replaces a newer one',
       format('publication %s: %s after %s', p.publication, n.due_at, o.due_at)
from cameo.publications p
join cameo.generations n on n.generation = p.generation
join cameo.generations o on o.generation = p.previous
where p.action = 'publish' and n.due_at <= o.due_at
union all
-- The catalogue is read as a table: `to_regclass` sees what was dropped after this query began.
select 'a generation that is not dropped has its table, and a dropped one has none',
       format('generation %s: %I.%I', generation, table_schema, table_name)
from cameo.generations g
where (dropped_at is null) is distinct from exists (
    select from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname = g.table_schema and c.relname = g.table_name)
union all
select 'a generation that is not yet mirrored keeps its table', format('generation %s', generation)
from cameo.outbox join cameo.generations using (generation)
where outbox.state = 'pending' and dropped_at is not null
union all
select 'the mirror equals the source',
       format('generation %s: %s rows, mirror %s', g.generation, cameo.rows_left(g), o.mirror_rows)
from cameo.outbox o join cameo.generations g using (generation)
where o.state = 'mirrored'
  and ((o.source_rows, o.source_checksum) is distinct from (o.mirror_rows, o.mirror_checksum)
       -- Whoever is being erased is gone from the table first, and from its copy a little later.
       or (o.mirror_rows, o.mirror_checksum)
              is distinct from (cameo.rows_left(g), cameo.checksum_left(g))
          and not exists (
              select from cameo.generation_erasures l join cameo.erasures e using (erasure)
              where l.generation = g.generation and e.state = 'erasing'))
union all
select 'nothing is erased from a generation that it did not have',
       format('generation %s: %s rows, %s left', g.generation, g.rows, cameo.rows_left(g))
from cameo.generations g
where cameo.rows_left(g) < 0
   or exists (select from cameo.generation_erasures l join cameo.erasures e using (erasure)
              where l.generation = g.generation and e.tenant <> g.tenant)
union all
select 'an erasure is done when every place was found empty, and keeps no key then',
       format('erasure %s', e.erasure)
from cameo.erasures e
where e.state = 'done' and (
    exists (select from cameo.erasure_keys k where k.erasure = e.erasure)
    or exists (select from cameo.erasure_steps s where s.erasure = e.erasure
               and (s.state <> 'done' or s.place <> 'run' and s.rows_found_again is distinct from 0)))
union all
select 'a file of members from which somebody was erased is deleted',
       format('erasure %s: %s of segment %s/%s', e.erasure, m.number, m.tenant, m.segment)
from cameo.erasures e join cameo.erasure_steps s using (erasure)
join cameo.segment_materialisations m on m.materialisation = s.subject
where e.state = 'done' and s.place = 'segment' and s.rows_removed > 0 and m.removed_at is null
union all
select 'an erasure that goes on knows its key', format('erasure %s', e.erasure)
from cameo.erasures e
where e.state = 'erasing'
  and not exists (select from cameo.erasure_keys k where k.erasure = e.erasure)
union all
select 'what is erased is suppressed until somebody lifts it', format('erasure %s', e.erasure)
from cameo.erasures e
where not exists (select from cameo.suppressions s
                  where s.tenant = e.tenant
                    and s.fingerprint in (e.fingerprint_int, e.fingerprint_string))
union all
select 'the ledger agrees with the time of publication', format('generation %s', generation)
from cameo.generations
where (state = 'published') is distinct from (published_at is not null)
union all
select 'a generation carries explanations if and only if its record says so',
       format('generation %s: %s', g.generation, coalesce(e.stored::text, 'no record'))
from cameo.generations g left join cameo.explanations e using (generation)
where g.state in ('published', 'retired') and g.rows > 0
  and coalesce(e.stored, false) is distinct from
      jsonb_path_exists(g.schema, '$[*] ? (@.type == "JSON" && @.name == "explanation")')
union all
select 'an explanation is of rows that its run read',
       format('generation %s: %s of %s rows', g.generation, e.rows, r.rows_read)
from cameo.explanations e join cameo.generations g using (generation)
join cameo.runs r on (r.run, r.epoch) = (g.run, g.epoch)
where g.state in ('published', 'retired') and e.rows > r.rows_read
  -- Sampled explanations that no row keeps are of the background's customers.
  and (e.stored or e.method <> 'KERNEL')
union all
select 'the cohorts of a column are all rows, each once',
       format('generation %s: %s has %s of %s rows', e.generation, c.cohort_column, c.rows, e.rows)
from cameo.explanations e
join (select generation, cohort_column, feature, sum(rows) as rows
      from cameo.importances where cohort_column is not null
      group by generation, cohort_column, feature) c using (generation)
where c.rows <> e.rows
union all
select 'what is in production is what the service runs',
       format('%s/%s runs %s, in production is %s', s.tenant, s.service, s.release, p.release)
from cameo.services s
left join cameo.release_stages p
    on (p.tenant, p.service, p.stage) = (s.tenant, s.service, 'production')
where s.release is distinct from p.release
union all
select 'a release stands where the ledger''s last entry put it',
       format('release %s is %s, the ledger says %s', s.release, s.stage, l.to_stage)
from cameo.release_stages s
left join lateral (
    select p.promotion, p.to_stage, p.at from cameo.promotions p
    where (p.tenant, p.service, p.release) = (s.tenant, s.service, s.release)
    order by p.promotion desc limit 1) l on true
where (s.stage, s.promotion, s.since) is distinct from (l.to_stage, l.promotion, l.at)
union all
select 'every release stands somewhere', format('release %s of %s/%s', r.release, r.tenant, r.service)
from cameo.releases r
where not exists (select from cameo.release_stages s
                  where (s.tenant, s.service, s.release) = (r.tenant, r.service, r.release))
union all
select 'each promotion starts where the one before it ended',
       format('promotion %s: from %s, expected %s', promotion, from_stage, expected)
from (
    select promotion, from_stage,
           lag(to_stage) over (partition by tenant, service, release order by promotion) as expected
    from cameo.promotions) entries
where from_stage is distinct from expected
union all
select 'the audit trail''s head stands at its last entry',
       format('%s entries, the last is %s', h.entries, l.entry)
from (values (true)) one
left join cameo.audit_head h on true
left join lateral (select entry, hash from cameo.audit order by entry desc limit 1) l on true
where (h.entries, h.hash) is distinct from (coalesce(l.entry, 0), coalesce(l.hash, repeat('0', 64)))
union all
-- The latest of them; `cameo audit verify` follows the whole chain.
select 'each entry of the audit trail has its hash, and follows the one before',
       format('entry %s, before it %s', entry, previous)
from (
    select (a).entry, (a).hash as found, cameo.audit_hash(a) as expected, (a).previous_hash as link,
           lag((a).entry) over w as previous, lag((a).hash) over w as previous_hash
    from (select a from cameo.audit a order by entry desc limit 1000) latest
    window w as (order by (a).entry)) entries
where found <> expected or previous <> entry - 1 or previous_hash <> link
union all
select 'a verdict is of a shadow run that has ended, and passed if all its checks did',
       format('run %s: %s', v.run, v.passed)
from cameo.verdicts v join cameo.runs r using (run)
where r.purpose <> 'shadow' or r.state not in ('shadowed', 'halted', 'failed')
   or v.passed is distinct from (
       select bool_and((c ->> 'passed')::boolean) from jsonb_array_elements(v.checks) c)
union all
select 'a published generation is in the queue of snapshots, whose file is there as long as its table',
       format('generation %s is %s, dropped at %s, its snapshot is %s', g.generation, g.state,
              g.dropped_at, coalesce(f.state, 'missing'))
from cameo.generations g left join cameo.snapshots f using (generation)
-- Before it is published it may be there as well.
where case when g.dropped_at is not null then f.state <> 'gone'
           when f.state is null then g.state = 'published'
           else f.state = 'gone' end
union all
select 'a segment is what its latest version says, and no version is missing',
       format('segment %s/%s is at version %s; there are %s, the latest is %s', v.tenant, v.segment,
              s.version, v.versions, v.latest)
from (select tenant, segment, count(*) as versions, max(version) as latest
      from cameo.segment_versions group by tenant, segment) v
left join cameo.segments s using (tenant, segment)
left join cameo.segment_versions l
    on (l.tenant, l.segment, l.version) = (v.tenant, v.segment, v.latest)
where v.versions <> v.latest
   or (s.version, s.service, s.definition, s.services)
      is distinct from (l.version, l.service, l.definition, l.services)
union all
-- What a rollback found defined elsewhere was left out of it, and stays so when it is removed there.
select 'a bundle in production defines the segments that it declares, and no others',
       format('%s/%s declares %s, which is not defined', v.tenant, v.service, d ->> 'name')
from cameo.services v join cameo.releases r using (tenant, service, release)
cross join lateral jsonb_array_elements(coalesce(r.manifest -> 'segments', '[]')) d
left join cameo.segments s on (s.tenant, s.segment) = (v.tenant, d ->> 'name')
where s.segment is null or (s.definition is null and s.service = v.service)
union all
select 'a bundle in production defines the segments that it declares, and no others',
       format('%s/%s is defined by the bundle of %s, which does not declare it', s.tenant, s.segment,
              s.service)
from cameo.segments s
left join cameo.services v using (tenant, service)
left join cameo.releases r
    on (r.tenant, r.service, r.release) = (v.tenant, v.service, v.release)
where s.service is not null and s.definition is not null
  and not coalesce(r.manifest -> 'segments', '[]')
      @> jsonb_build_array(jsonb_build_object('name', s.segment))
union all
select 'the members of a segment are numbered from 1 without gaps',
       format('segment %s/%s has %s, the latest is %s', tenant, segment, count(*), max(number))
from cameo.segment_materialisations
group by tenant, segment having count(*) <> max(number)
union all
select 'members are of published generations of their tenant, as of the oldest of them',
       format('materialisation %s of segment %s/%s: %s', m.number, m.tenant, m.segment, m.generations)
from cameo.segment_materialisations m
cross join lateral (
    select bool_and(g.published_at is not null) as published, min(g.predicted_at) as oldest
    from jsonb_each_text(m.generations) e
    left join cameo.generations g
        on (g.generation, g.tenant, g.service) = (e.value::bigint, m.tenant, e.key)) f
where f.published is not true or f.oldest is distinct from m.as_of
union all
select 'a segment that was looked at has members of what was seen, or says why not',
       format('segment %s/%s: version %s of %s was seen, its members are of version %s of %s', s.tenant,
              s.segment, s.seen_version, s.seen_generations, m.version, m.generations)
from cameo.segments s
left join lateral (
    select version, generations, dropped_at from cameo.segment_materialisations m
    where (m.tenant, m.segment) = (s.tenant, s.segment) order by number desc limit 1) m on true
where s.definition is not null and s.seen_version = s.version and s.reason is null
  and (m.dropped_at is not null
       or (m.version, m.generations) is distinct from (s.seen_version, s.seen_generations))
union all
select 'row security is forced on every table of the control plane', format('cameo.%s', c.relname)
from pg_class c
where c.relnamespace = 'cameo'::regnamespace and c.relkind in ('r', 'p') and c.relname <> 'migrations'
  and not (c.relrowsecurity and c.relforcerowsecurity
       and exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'platform'
                   and p.polroles = array[c.relowner])
       and (exists (select from pg_policy p where p.polrelid = c.oid and p.polname = 'said_tenant')
            or not exists (select from pg_attribute a where a.attrelid = c.oid
                           and a.attname = 'tenant' and not a.attisdropped)))
union all
select 'nobody but the platform calls its functions', format('public may call %s', p.oid::regprocedure)
from pg_proc p
where p.pronamespace = 'cameo'::regnamespace and p.proname <> 'own_tenants'
  and has_function_privilege('public', p.oid, 'execute')
union all
select 'the SQL users of each tenant have its role',
       format('tenant %s: an administrator of Postgres has to run: %s', t.tenant, case
           when to_regrole('cameo_readers') is null then 'create role cameo_readers nologin'
           when to_regrole('tenant_' || t.tenant) is null
               then format('create role tenant_%s nologin in role cameo_readers', t.tenant)
           else format('grant cameo_readers to tenant_%s', t.tenant) end)
from cameo.tenants t
where pg_has_role(to_regrole('tenant_' || t.tenant)::oid, to_regrole('cameo_readers')::oid, 'member')
      is not true
union all
select 'a tenant''s role can read what is shown to it, and nothing else',
       format('%s may %s %s.%s', coalesce(r.rolname, 'everybody'), a.privilege_type, n.nspname, c.relname)
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
cross join lateral aclexplode(c.relacl) a
left join pg_roles r on r.oid = a.grantee
where (n.nspname = 'cameo' or starts_with(n.nspname, 'tenant_'))
  and (a.grantee = 0 or r.rolname = 'cameo_readers' or starts_with(r.rolname, 'tenant_'))
  and (a.privilege_type = 'SELECT' and case n.nspname
           when 'cameo' then r.rolname = 'cameo_readers' and exists (
               select from pg_policy p where p.polrelid = c.oid and p.polname = 'own_rows')
           else r.rolname = n.nspname and c.relkind = 'v' end) is not true
union all
select 'a tenant''s role can read what is shown to it, and nothing else',
       format('%s %s', r.rolname, case
           when r.rolsuper or r.rolbypassrls then 'is bound by no row security'
           when r.rolcreaterole or r.rolcreatedb or r.rolreplication then 'may change the cluster'
           else 'has another role besides' end)
from cameo.tenants t join pg_roles r on r.rolname = 'tenant_' || t.tenant
where r.rolsuper or r.rolbypassrls or r.rolcreaterole or r.rolcreatedb or r.rolreplication
   or exists (select from pg_auth_members m
              where m.member = r.oid and m.roleid <> to_regrole('cameo_readers'))
