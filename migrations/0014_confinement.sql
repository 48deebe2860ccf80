-- SQL users are confined to their tenant: a role for each tenant that reads its views and its own rows
-- of the control plane, and row security on every table of it.
--
-- Roles belong to all databases of a cluster, and making one needs CREATEROLE. Where that right is
-- missing nothing fails: `cameo.confine_tenant` answers what an administrator has to run, and
-- `cameo doctor` shows it.

-- The tenants whose role the current user has. Policies ask it once for each statement.
create function cameo.own_tenants() returns text[] language sql stable parallel safe
    return array(
        select substr(r.rolname::text, length('tenant_') + 1) from pg_catalog.pg_roles r
        where starts_with(r.rolname::text, 'tenant_') and pg_has_role(r.oid, 'usage'));

-- A table is shown to tenants if and only if it has the policy `own_rows`: `cameo.secure` grants these
-- tables and no others. Keys, the outbox, actors and their addresses are nobody's business.
create policy own_rows on cameo.services for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.releases for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.release_stages for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.runs for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.generations for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.publications for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.verdicts for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
create policy own_rows on cameo.explanations for select
    using (tenant = any ((select cameo.own_tenants())::text[]));
-- These two follow the rows that they belong to, of which only the own ones are seen.
create policy own_rows on cameo.importances for select
    using (exists (select from cameo.explanations e where e.generation = importances.generation));
create policy own_rows on cameo.quarantine for select
    using (exists (select from cameo.runs r where r.run = quarantine.run));

-- Makes a role where it is missing and may be made; answers whether it is there.
create function cameo.ensure_role(wanted name) returns boolean language plpgsql as $$
begin
    if to_regrole(quote_ident(wanted)) is not null then
        return true;
    end if;
    if not (select r.rolsuper or r.rolcreaterole from pg_roles r where r.rolname = current_user) then
        return false;
    end if;
    execute format('create role %I nologin', wanted);
    return true;
exception when duplicate_object or unique_violation then
    -- Another database of the cluster was faster. A name that this session did not find it takes as
    -- missing until it looks at a table anew.
    while to_regrole(quote_ident(wanted)) is null loop
        perform pg_sleep(0.01);
        execute 'select from cameo.tenants limit 0';
    end loop;
    return true;
end $$;

-- Gives the tenant its role with the rights to its views. Null, or what an administrator has to run
-- before it can be done.
create function cameo.confine_tenant(of_tenant text) returns text language plpgsql as $$
declare
    own constant name := 'tenant_' || of_tenant;
    shown name;
begin
    if not cameo.ensure_role('cameo_readers') then
        return 'create role cameo_readers nologin';
    end if;
    if not cameo.ensure_role(own) then
        return format('create role %I nologin in role cameo_readers', own);
    end if;
    if not pg_has_role(own, 'cameo_readers', 'member') then
        begin
            execute format('grant cameo_readers to %I', own);
        exception when insufficient_privilege then
            return format('grant cameo_readers to %I', own);
        end;
    end if;
    -- The schema and the role have one name.
    if to_regnamespace(quote_ident(own)) is null then
        return null;
    end if;
    if not has_schema_privilege(own, own, 'usage') then
        execute format('grant usage on schema %I to %I', own, own);
    end if;
    -- Views alone: a generation's table may be one that was never published.
    for shown in
        select c.relname from pg_class c
        where c.relnamespace = to_regnamespace(quote_ident(own)) and c.relkind = 'v'
          and not has_table_privilege(own, c.oid, 'select')
    loop
        execute format('grant select on %I.%I to %I', own, shown, own);
    end loop;
    return null;
end $$;

-- Brings the rights in this database to what they should be. Called after the migrations, so that
-- a new table cannot be forgotten, and one that a backup brought back under another owner is found.
create function cameo.secure() returns void language plpgsql as $$
declare
    found record;
begin
    -- Processes that start together take turns, for concurrent grants on one table fail.
    lock table cameo.migrations in share row exclusive mode;
    for found in
        select c.oid, format('cameo.%I', c.relname) as name, c.relowner, r.rolname as owner,
               c.relrowsecurity and c.relforcerowsecurity as forced,
               exists (select from pg_attribute a where a.attrelid = c.oid
                       and a.attname = 'tenant' and not a.attisdropped) as of_tenants
        from pg_class c join pg_roles r on r.oid = c.relowner
        -- The list of migrations is read before this function can be called.
        where c.relnamespace = 'cameo'::regnamespace and c.relkind in ('r', 'p')
          and c.relname <> 'migrations'
    loop
        if not found.forced then
            execute format('alter table %s enable row level security, force row level security',
                found.name);
        end if;
        -- The platform connects as the owner, or as a superuser, whom no policy binds.
        if not exists (select from pg_policy p where p.polrelid = found.oid
                       and p.polname = 'platform' and p.polroles = array[found.relowner]) then
            if exists (select from pg_policy p
                    where p.polrelid = found.oid and p.polname = 'platform') then
                execute format('drop policy platform on %s', found.name);
            end if;
            execute format('create policy platform on %s to %I using (true) with check (true)',
                found.name, found.owner);
        end if;
        -- A transaction that says whose it is (cameo_store::Store::confined) meets nobody else's rows.
        if found.of_tenants and not exists (select from pg_policy p
                where p.polrelid = found.oid and p.polname = 'said_tenant') then
            execute format($policy$
                create policy said_tenant on %s as restrictive using (
                    (select nullif(current_setting('cameo.tenant', true), '')) is null
                    or tenant = (select nullif(current_setting('cameo.tenant', true), '')))$policy$,
                found.name);
        end if;
    end loop;
    for found in
        select p.oid::regprocedure as name from pg_proc p
        where p.pronamespace = 'cameo'::regnamespace and p.proname <> 'own_tenants'
          and has_function_privilege('public', p.oid, 'execute')
    loop
        execute format('revoke execute on routine %s from public', found.name);
    end loop;
    if cameo.ensure_role('cameo_readers') then
        if not has_schema_privilege('cameo_readers', 'cameo', 'usage') then
            grant usage on schema cameo to cameo_readers;
        end if;
        for found in
            select p.polrelid::regclass as name from pg_policy p
            join pg_class c on c.oid = p.polrelid
            where c.relnamespace = 'cameo'::regnamespace and p.polname = 'own_rows'
              and not has_table_privilege('cameo_readers', c.oid, 'select')
        loop
            execute format('grant select on %s to cameo_readers', found.name);
        end loop;
    end if;
    for found in select tenant from cameo.tenants order by tenant loop
        perform cameo.confine_tenant(found.tenant);
    end loop;
end $$;
