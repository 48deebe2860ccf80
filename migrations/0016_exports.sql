-- What leaves the platform: who has come how far, and who is told of changes.

-- Seals the cursors of listings. Made once; who can read it can read everything that a cursor leads to.
create table cameo.cursor_secret (
    only_row            boolean primary key default true check (only_row),
    secret              bytea not null check (octet_length(secret) = 32)
);

insert into cameo.cursor_secret (secret)
values (sha256(convert_to(gen_random_uuid()::text || gen_random_uuid()::text, 'UTF8')));

-- Up to which materialisation a consumer has taken a segment's changes.
create table cameo.segment_consumers (
    tenant              text not null references cameo.tenants,
    segment             text not null,
    consumer            text not null,
    materialisation     integer not null,
    acknowledged_by     text not null,
    acknowledged_at     timestamptz not null default now(),
    primary key (tenant, segment, consumer),
    foreign key (tenant, segment, materialisation) references cameo.segment_materialisations
);

-- Who is told of changes.
create table cameo.webhooks (
    tenant              text not null references cameo.tenants,
    webhook             text not null,
    url                 text not null,
    -- Empty: every segment of the tenant.
    segments            text[] not null default '{}',
    secret              bytea not null,
    -- While a secret is replaced both sign.
    previous_secret     bytea,
    previous_secret_until timestamptz,
    created_by          text not null,
    created_at          timestamptz not null default now(),
    -- Since when every delivery has failed.
    failing_since       timestamptz,
    disabled_at         timestamptz,
    disabled_reason     text,
    primary key (tenant, webhook),
    constraint webhooks_previous_secrets_end check (
        (previous_secret is null) = (previous_secret_until is null)),
    constraint webhooks_disabled_have_a_reason check (
        (disabled_at is null) = (disabled_reason is null))
);

-- What is to be delivered: written by the transaction that makes the news, so none is forgotten.
create table cameo.webhook_deliveries (
    -- The same at each attempt: receivers tell repetitions by it.
    delivery            text primary key default 'msg_' || replace(gen_random_uuid()::text, '-', ''),
    tenant              text not null,
    webhook             text not null,
    event               text not null check (event in ('cameo.segment.changed', 'cameo.webhook.ping')),
    segment             text,
    materialisation     integer,
    -- unchanged: nothing was to tell; abandoned: the webhook was disabled before it was delivered.
    state               text not null default 'pending'
        check (state in ('pending', 'delivered', 'unchanged', 'abandoned')),
    -- Written before the first attempt, so that each attempt sends the same.
    body                text,
    epoch               integer not null default 0,
    attempts            integer not null default 0,
    not_before          timestamptz not null default now(),
    lease_expires_at    timestamptz,
    -- What the receiver answered last, where it did, and why that was no success.
    status              integer,
    reason              text,
    created_at          timestamptz not null default clock_timestamp(),
    ended_at            timestamptz,
    foreign key (tenant, webhook) references cameo.webhooks on delete cascade,
    constraint webhook_deliveries_tell_once unique (tenant, webhook, segment, materialisation),
    constraint webhook_deliveries_name_what_they_tell check (
        (event = 'cameo.segment.changed') = (segment is not null and materialisation is not null)),
    constraint webhook_deliveries_end_once check ((state = 'pending') = (ended_at is null))
);

create index webhook_deliveries_waiting on cameo.webhook_deliveries (not_before)
    where state = 'pending';
create index webhook_deliveries_by_webhook on cameo.webhook_deliveries (tenant, webhook, created_at desc);

create function cameo.tell_webhooks() returns trigger language plpgsql as $$
begin
    insert into cameo.webhook_deliveries (tenant, webhook, event, segment, materialisation)
    select w.tenant, w.webhook, 'cameo.segment.changed', new.segment, new.number
    from cameo.webhooks w
    where w.tenant = new.tenant and w.disabled_at is null
      and (w.segments = '{}' or new.segment = any (w.segments))
    on conflict do nothing;
    return null;
end $$;

create trigger segment_materialisations_are_told after insert on cameo.segment_materialisations
    for each row execute function cameo.tell_webhooks();

create function cameo.audit_webhook() returns trigger language plpgsql as $$
declare
    -- Secrets are nobody's business; that one was replaced is. Failures come and go by themselves.
    hidden constant text[] := '{secret,previous_secret,failing_since}';
    replaced jsonb := '{}';
begin
    case tg_op
    when 'INSERT' then
        perform cameo.append_audit(new.created_by, new.tenant, null, 'webhook.created', new.webhook,
            jsonb_build_object('url', new.url, 'segments', new.segments));
    when 'UPDATE' then
        if new.secret is distinct from old.secret then
            replaced := '{"secret": "replaced"}';
        end if;
        perform cameo.append_audit(null, new.tenant, null,
            case when old.disabled_at is null and new.disabled_at is not null
                then 'webhook.disabled' else 'webhook.changed' end,
            new.webhook,
            cameo.audit_difference(to_jsonb(old) - hidden, to_jsonb(new) - hidden) || replaced);
    when 'DELETE' then
        perform cameo.append_audit(null, old.tenant, null, 'webhook.deleted', old.webhook, '{}');
    end case;
    return null;
end $$;

create constraint trigger new_webhooks_are_audited after insert or delete on cameo.webhooks
    deferrable initially deferred for each row execute function cameo.audit_webhook();
create constraint trigger webhooks_are_audited after update on cameo.webhooks
    deferrable initially deferred for each row
    when (to_jsonb(old) - 'failing_since' is distinct from to_jsonb(new) - 'failing_since')
    execute function cameo.audit_webhook();
