{#
Equally large groups by a number: 1 holds the smallest, the last group the largest. The key settles which
of two equal numbers comes first, so a repeat gives the same groups. NULL is in no group.

- `value`: the number
- `key`: a column that no two rows share
- `groups`: how many groups
- `within`: a column; each of its values is then grouped by itself

Gives INT64, or NULL where the number is. It looks at all rows, so it stands in a SELECT without GROUP BY.
#}
{% macro groups(value, key, groups=10, within=none) %}
{% if groups is not integer or groups < 2 %}{{ refuse('expected a whole number of groups from 2, found ' ~ groups) }}{% endif %}
IF({{ value }} IS NULL, NULL, NTILE({{ groups }}) OVER (PARTITION BY {% if within is not none %}{{ within }}, {% endif %}{{ value }} IS NULL ORDER BY {{ value }}, {{ key }}))
{%- endmacro %}

{#
Ten equally large groups, 10 the most valuable.

- `value`, `key`, `within`: as for `std.groups`

Gives INT64 from 1 to 10, or NULL where the number is.
#}
{% macro decile(value, key, within=none) %}
{{ std.groups(value, key, 10, within) }}
{%- endmacro %}

{#
Named tiers by the share of rows that lie below. Equal numbers have equal shares, so equal customers are
in one tier; its size may therefore differ from what the shares say. NULL is in no tier.

- `value`: the number
- `cuts`: pairs of a name and the share of rows below from which it holds, the highest first
- `otherwise`: the name of everything below the last cut
- `within`: a column; each of its values is then ranked by itself

Gives STRING, or NULL where the number is. It looks at all rows, so it stands in a SELECT without GROUP BY.
#}
{% macro tier(value, cuts=[('High', 0.8), ('Medium', 0.5)], otherwise='Low', within=none) %}
{% if cuts is string or cuts is not iterable or not cuts %}{{ refuse("expected pairs such as [('High', 0.8), ('Medium', 0.5)], found " ~ cuts) }}{% endif %}
{% set below %}PERCENT_RANK() OVER (PARTITION BY {% if within is not none %}{{ within }}, {% endif %}{{ value }} IS NULL ORDER BY {{ value }}){% endset %}
CASE
  WHEN {{ value }} IS NULL THEN NULL
{% for name, share in cuts %}
{% if share is not number or share < 0 or share > 1 %}{{ refuse('expected a share from 0 to 1, found ' ~ share) }}{% endif %}
{% if not loop.first and share >= loop.previtem[1] %}{{ refuse('expected the highest share first, found ' ~ loop.previtem[1] ~ ' before ' ~ share) }}{% endif %}
  WHEN {{ below }} >= {{ share }} THEN {{ name | literal }}
{% endfor %}
  ELSE {{ otherwise | literal }}
END
{%- endmacro %}
