{#
Weeks from one DATE to another, in fractions, as buy-till-you-die models count time.

- `start`, `end`: the two dates
#}
{% macro weeks(start, end) %}
DATE_DIFF({{ end }}, {{ start }}, DAY) / 7
{%- endmacro %}
