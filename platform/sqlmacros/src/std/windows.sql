{#
How many events fall into the last days: the as-of date is the last of them, so `days=1` is that day alone.

- `date`: the DATE of an event
- `days`: the length of the window, a whole number from 1
- `as_of`: the last DATE of the window

Gives an aggregate, INT64. Group by the customer.
#}
{% macro count_within(date, days, as_of='@run_date') %}
{% if days is not integer or days < 1 %}{{ refuse('expected a whole number of days from 1, found ' ~ days) }}{% endif %}
COUNTIF(DATE_DIFF({{ as_of }}, {{ date }}, DAY) BETWEEN 0 AND {{ days - 1 }})
{%- endmacro %}

{#
What the events of the last days add up to.

- `date`, `days`, `as_of`: as for `std.count_within`
- `amount`: what one event adds; an unknown amount adds nothing

Gives an aggregate of the amount's type, 0 where there were no events. Group by the customer.
#}
{% macro sum_within(date, amount, days, as_of='@run_date') %}
{% if days is not integer or days < 1 %}{{ refuse('expected a whole number of days from 1, found ' ~ days) }}{% endif %}
COALESCE(SUM(IF(DATE_DIFF({{ as_of }}, {{ date }}, DAY) BETWEEN 0 AND {{ days - 1 }}, {{ amount }}, NULL)), 0)
{%- endmacro %}

{#
Counts and sums over several windows at once.

- `date`, `as_of`: as for `std.count_within`
- `amount`: as for `std.sum_within`; without one there are counts alone
- `days`: the lengths of the windows
- `count_as`, `sum_as`: how the columns' names begin

Gives for each length the columns `orders_30d` and, with an amount, `spend_30d`. Group by the customer.
#}
{% macro windows(date, amount=none, days=[30, 90, 365], as_of='@run_date', count_as='orders', sum_as='spend') %}
{% if days is string or days is not iterable or not days %}{{ refuse('expected a list of days such as [30, 90, 365], found ' ~ days) }}{% endif %}
{% for length in days %}
{{ std.count_within(date, length, as_of) }} AS {{ (count_as ~ '_' ~ length ~ 'd') | identifier }}
{%- if amount is not none %},
{{ std.sum_within(date, amount, length, as_of) }} AS {{ (sum_as ~ '_' ~ length ~ 'd') | identifier }}
{%- endif %}
{%- if not loop.last %},
{% endif %}
{% endfor %}
{%- endmacro %}
