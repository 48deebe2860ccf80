-- A claim looks for the oldest queued run of each service. However many wait behind it, it is the first one here.

create index runs_queue_by_service on cameo.runs (tenant, service, purpose, due_at, run)
    where state = 'queued';
