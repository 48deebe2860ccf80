-- How the predictions of each generation are explained: what they are compared with, and how much
-- each feature matters. Contributions to single predictions lie in the generation's own table.

-- The customers that every run of a release compares with, so that its generations can be compared.
create table cameo.explanation_backgrounds (
    tenant              text not null,
    service             text not null,
    release             text not null,
    rows                integer not null check (rows >= 1),
    -- The feature columns: [{"name": …, "values": [text or null, …]}, …]. Text, because it is cast to
    -- the types that features.sql gives when it is used.
    columns             jsonb not null check (jsonb_typeof(columns) = 'array'),
    created_at          timestamptz not null default now(),
    primary key (tenant, service, release),
    foreign key (tenant, service, release) references cameo.releases
);

create trigger explanation_backgrounds_are_immutable
    before update or delete on cameo.explanation_backgrounds
    for each row execute function cameo.refuse_change();

create table cameo.explanations (
    generation          bigint primary key references cameo.generations,
    tenant              text not null,
    service             text not null,
    method              text not null,
    description         text not null,
    output              text not null,
    -- margin: the raw score before the model's last transform; output: the output column itself.
    unit                text not null check (unit in ('margin', 'output')),
    base_value          double precision not null,
    -- Whether each row of the generation carries its greatest contributions.
    stored              boolean not null,
    -- How many rows the importances are means of.
    rows                bigint not null check (rows >= 0),
    -- Mean over the rows, of sampled methods only.
    standard_error      double precision,
    created_at          timestamptz not null default now(),
    foreign key (tenant, service, generation)
        references cameo.generations (tenant, service, generation)
);

create table cameo.importances (
    generation          bigint not null references cameo.explanations,
    -- Null for all rows of the generation.
    cohort_column       text,
    cohort_value        text,
    feature             text not null,
    rows                bigint not null check (rows >= 1),
    mean_absolute       double precision not null,
    mean                double precision not null,
    unique nulls not distinct (generation, cohort_column, cohort_value, feature),
    constraint importances_cohort_is_whole
        check ((cohort_column is null) = (cohort_value is null))
);

-- Written while the generation is made, never changed, and gone at the earliest with its table:
-- then what belongs to cohorts, and all of an attempt that never ended. The importance over all
-- rows of a published generation stays, so that its course over time can be told.
create function cameo.check_explanation() returns trigger language plpgsql as $$
declare
    made record;
begin
    if tg_op = 'UPDATE' then
        raise exception 'the explanation of generation % never changes', old.generation
            using errcode = 'CM005';
    end if;
    select state, dropped_at into made from cameo.generations
        where generation = case tg_op when 'INSERT' then new.generation else old.generation end;
    if tg_op = 'INSERT' then
        if made.state <> 'loading' then
            raise exception 'generation % is % and cannot be explained any more',
                new.generation, made.state using errcode = 'CM005';
        end if;
        return new;
    end if;
    if made.dropped_at is null then
        raise exception 'generation % is kept, and its explanation with it', old.generation
            using errcode = 'CM005';
    end if;
    return old;
end $$;

create trigger explanations_follow_their_generation
    before insert or update or delete on cameo.explanations
    for each row execute function cameo.check_explanation();
create trigger importances_follow_their_generation
    before insert or update or delete on cameo.importances
    for each row execute function cameo.check_explanation();
