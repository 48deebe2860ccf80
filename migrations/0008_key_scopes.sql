-- What a key may do within its tenant; `all` includes what later versions can do.

alter table cameo.api_keys
    add column scopes text[] not null default '{all}',
    add constraint api_keys_have_a_scope check (
        cardinality(scopes) > 0
        and scopes <@ array['read', 'run', 'deploy', 'promote', 'all']);
