{#
A division that no zero stops.

- `numerator`, `denominator`: what is divided, and by what
- `otherwise`: what stands where the result is unknown: the denominator is 0, or either of them is NULL

Gives FLOAT64.
#}
{% macro safe_divide(numerator, denominator, otherwise=none) %}
{% if otherwise is none %}
SAFE_DIVIDE({{ numerator }}, {{ denominator }})
{%- else %}
COALESCE(SAFE_DIVIDE({{ numerator }}, {{ denominator }}), {{ otherwise }})
{%- endif %}
{%- endmacro %}

{#
A number that is cut off at fixed bounds. NULL stays NULL.

- `value`: the number
- `low`, `high`: the bounds, of which one may be left out

Gives the value's type, or FLOAT64 where a bound has a fraction.
#}
{% macro capped(value, low=none, high=none) %}
{% if low is none and high is none %}{{ refuse('expected low, high or both') }}{% endif %}
{% if low is number and high is number and low > high %}{{ refuse('expected low to be at most high, found ' ~ low ~ ' and ' ~ high) }}{% endif %}
{% if low is none %}
LEAST({{ value }}, {{ high }})
{%- elif high is none %}
GREATEST({{ value }}, {{ low }})
{%- else %}
LEAST(GREATEST({{ value }}, {{ low }}), {{ high }})
{%- endif %}
{%- endmacro %}

{#
A number that is cut off at percentiles of the rows of the query, so that a few outliers do not pull a
model. NULL stays NULL and counts for no percentile; a percentile between two rows is interpolated.

- `value`: the number
- `high`, `low`: the percentiles as shares, from 0 to 1, of which one may be none
- `within`: a column; each of its groups then has percentiles of its own

Gives FLOAT64. It looks at all rows, so it stands in a SELECT without GROUP BY.
#}
{% macro capped_at_percentile(value, high=0.99, low=none, within=none) %}
{% if low is none and high is none %}{{ refuse('expected low, high or both') }}{% endif %}
{% for share in [low, high] if share is not none %}
{% if share is not number or share < 0 or share > 1 %}{{ refuse('expected a share from 0 to 1, found ' ~ share) }}{% endif %}
{% endfor %}
{% if low is not none and high is not none and low > high %}{{ refuse('expected low to be at most high, found ' ~ low ~ ' and ' ~ high) }}{% endif %}
{% set window %}OVER ({% if within is not none %}PARTITION BY {{ within }}{% endif %}){% endset %}
{% set bottom %}PERCENTILE_CONT({{ value }}, {{ low }}) {{ window }}{% endset %}
{% set top %}PERCENTILE_CONT({{ value }}, {{ high }}) {{ window }}{% endset %}
{{ std.capped(value, low=none if low is none else bottom, high=none if high is none else top) }}
{%- endmacro %}
