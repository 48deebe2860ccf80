{#
Puts events into sessions: one ends where the next event of the same customer comes later than the gap.
Events of one instant are in one session.

- `events`: a table, or a query in parentheses
- `key`: its column that tells whose event it is
- `time`: its TIMESTAMP column that tells when
- `gap_minutes`: the longest pause within a session; pauses are counted in whole seconds

Gives a query: every column of the events and `session_number`, which counts each customer's sessions
from 1. Use it as a table, in parentheses.
#}
{% macro sessions(events, key, time, gap_minutes=30) %}
{% if gap_minutes is not integer or gap_minutes < 1 %}{{ refuse('expected a whole number of minutes from 1, found ' ~ gap_minutes) }}{% endif %}
SELECT
  * EXCEPT (begins_session),
  SUM(begins_session) OVER (PARTITION BY {{ key }} ORDER BY {{ time }}) AS session_number
FROM (
  SELECT
    *,
    IF(
      TIMESTAMP_DIFF({{ time }}, LAG({{ time }}) OVER (PARTITION BY {{ key }} ORDER BY {{ time }}), SECOND) <= {{ gap_minutes * 60 }},
      0, 1
    ) AS begins_session
  FROM {{ events }}
)
{%- endmacro %}

{#
One row per session, with its length. A session of one event lasts 0 seconds.

- `events`, `key`, `time`, `gap_minutes`: as for `std.sessions`

Gives a query with the key's column and `session_number`, `started_at`, `ended_at`, `session_seconds` and
`session_events`. Use it as a table, in parentheses.
#}
{% macro session_lengths(events, key, time, gap_minutes=30) %}
SELECT
  {{ key }},
  session_number,
  MIN({{ time }}) AS started_at,
  MAX({{ time }}) AS ended_at,
  TIMESTAMP_DIFF(MAX({{ time }}), MIN({{ time }}), SECOND) AS session_seconds,
  COUNT(*) AS session_events
FROM (
{{ std.sessions(events, key, time, gap_minutes) | indent(2, true) }}
)
GROUP BY {{ key }}, session_number
{%- endmacro %}
