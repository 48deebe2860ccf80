-- What a key may do besides: define segments, erase customers, manage keys, see sensitive predictions.

alter table cameo.api_keys
    drop constraint api_keys_have_a_scope,
    add constraint api_keys_have_a_scope check (
        cardinality(scopes) > 0
        and scopes <@ array['read', 'run', 'deploy', 'promote', 'segment', 'erase', 'manage', 'sensitive', 'all']);
