-- The end of an archived service: after its time its pointer refers to nothing, and its tables go.

alter table cameo.publications
    alter column generation drop not null,
    drop constraint publications_action_check,
    add constraint publications_action_check check (action in ('publish', 'rollback', 'withdraw')),
    add constraint publications_withdraw_to_nothing
        check ((action = 'withdraw') = (generation is null));
