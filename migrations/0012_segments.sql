-- Segments: what each was defined to be and by whom, and who was a member when.

-- Every version of every definition. The ledger comes first: the heads below are written by its trigger
-- alone, so that they cannot tell anything else.
create table cameo.segment_versions (
    tenant              text not null references cameo.tenants,
    segment             text not null,
    -- From 1, without gaps, also over a removal.
    version             integer not null check (version >= 1),
    -- The service whose bundle defines it; null: through the API.
    service             text,
    -- What cameo_segment::SegmentDefinition says; null: the segment was removed.
    definition          jsonb,
    -- The services that the definition names.
    services            text[] not null,
    actor               text not null,
    origin              text not null,
    at                  timestamptz not null default clock_timestamp(),
    primary key (tenant, segment, version),
    foreign key (tenant, service) references cameo.services,
    constraint segment_versions_name_services
        check ((definition is null) = (cardinality(services) = 0))
);

create trigger segment_versions_are_a_ledger before update or delete on cameo.segment_versions
    for each row execute function cameo.refuse_change();

-- The present version of each segment, and how far its members are made. Who makes them holds a lease.
create table cameo.segments (
    tenant              text not null,
    segment             text not null,
    version             integer not null,
    service             text,
    definition          jsonb,
    services            text[] not null,
    -- From which version and generations members were made last, or could not be.
    seen_version        integer,
    seen_generations    jsonb,
    -- Why they could not; null where they could.
    reason              text,
    epoch               integer not null default 0,
    attempts            integer not null default 0,
    not_before          timestamptz not null default now(),
    lease_expires_at    timestamptz,
    -- A file of members that is or may be in the artifact store and is not recorded. It is named here before
    -- it is stored, so that none is forgotten when its maker dies.
    announced           text,
    primary key (tenant, segment),
    foreign key (tenant, segment, version) references cameo.segment_versions
);

create index segments_by_service on cameo.segments using gin (services) where definition is not null;

create function cameo.follow_segment_version() returns trigger language plpgsql as $$
begin
    insert into cameo.segments (tenant, segment, version, service, definition, services)
    values (new.tenant, new.segment, new.version, new.service, new.definition, new.services)
    on conflict (tenant, segment) do update
    set version = excluded.version, service = excluded.service, definition = excluded.definition,
        services = excluded.services, reason = null, attempts = 0, not_before = now();
    return null;
end $$;

create trigger segments_follow_versions after insert on cameo.segment_versions
    for each row execute function cameo.follow_segment_version();

-- The version, and what it defines, is what the ledger says.
create function cameo.check_segment() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE' then
        raise exception 'segment %/% is removed by a version that says so', old.tenant, old.segment
            using errcode = 'CM012';
    end if;
    if not exists (
        select from cameo.segment_versions v
        where v.tenant = new.tenant and v.segment = new.segment and v.version = new.version
          and v.service is not distinct from new.service
          and v.definition is not distinct from new.definition and v.services = new.services)
    then
        raise exception 'segment %/%: only a version changes what it is', new.tenant, new.segment
            using errcode = 'CM012';
    end if;
    return new;
end $$;

create trigger segments_are_what_versions_say before insert or update or delete on cameo.segments
    for each row execute function cameo.check_segment();

-- Who was a member at one time: a file in the artifact store.
create table cameo.segment_materialisations (
    tenant              text not null,
    segment             text not null,
    -- From 1, without gaps.
    number              integer not null check (number >= 1),
    version             integer not null,
    -- The oldest time of prediction among the generations.
    as_of               timestamptz not null,
    -- From service to generation.
    generations         jsonb not null,
    members             bigint not null check (members >= 0),
    profiles            bigint not null check (profiles >= members),
    sha256              text not null,
    bytes               bigint not null,
    -- The materialisation before; null of the first.
    previous            integer,
    created_at          timestamptz not null default clock_timestamp(),
    -- Until then somebody may still read it, whatever else would drop it.
    pinned_until        timestamptz,
    -- When it was given up, and when its file was deleted after that.
    dropped_at          timestamptz,
    removed_at          timestamptz,
    primary key (tenant, segment, number),
    foreign key (tenant, segment) references cameo.segments,
    foreign key (tenant, segment, version) references cameo.segment_versions,
    constraint segment_materialisations_follow_each_other
        check (previous is not distinct from nullif(number - 1, 0)),
    constraint segment_materialisations_are_dropped_before_their_file
        check (removed_at is null or dropped_at is not null)
);

create index segment_materialisations_kept on cameo.segment_materialisations (tenant, segment, number)
    where removed_at is null;

create function cameo.check_materialisation() returns trigger language plpgsql as $$
begin
    if tg_op = 'DELETE'
        or (old.dropped_at is not null and new.dropped_at is distinct from old.dropped_at)
        or to_jsonb(new) - '{pinned_until,dropped_at,removed_at}'::text[]
           is distinct from to_jsonb(old) - '{pinned_until,dropped_at,removed_at}'::text[]
    then
        raise exception 'materialisation % of segment %/% never changes',
            old.number, old.tenant, old.segment using errcode = 'CM012';
    end if;
    return new;
end $$;

create trigger segment_materialisations_are_immutable
    before update or delete on cameo.segment_materialisations
    for each row execute function cameo.check_materialisation();

create function cameo.audit_segment_version() returns trigger language plpgsql as $$
begin
    perform cameo.append_audit(new.actor, new.tenant, new.service,
        case when new.definition is null then 'segment.removed'
            when new.version = 1 then 'segment.created' else 'segment.changed' end,
        new.segment,
        jsonb_build_object('version', new.version, 'definition', new.definition),
        new.origin);
    return null;
end $$;

create constraint trigger segment_versions_are_audited after insert on cameo.segment_versions
    deferrable initially deferred for each row execute function cameo.audit_segment_version();
