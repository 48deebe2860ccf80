-- What each tenant, and each key, may ask of the API. Null: what the operators' settings grant.

alter table cameo.tenants
    add column requests_per_second integer check (requests_per_second between 1 and 1000000),
    add column request_burst integer check (request_burst between 1 and 1000000),
    add column concurrent_requests integer check (concurrent_requests between 1 and 100000);

-- A key may be allowed less than its tenant's keys are.
alter table cameo.api_keys
    add column requests_per_second integer check (requests_per_second between 1 and 1000000);
