{#
Days from the last purchase to the as-of date. Purchases after that date do not count; whoever has none
before it has NULL. Recency is never counted from the first purchase to the last.

- `date`: the DATE of a purchase; `DATE(ordered_at, 'Asia/Tokyo')` where the column is a TIMESTAMP
- `as_of`: the DATE as of which customers are looked at

Gives an aggregate, INT64. Group by the customer.
#}
{% macro recency_days(date, as_of='@run_date') %}
DATE_DIFF({{ as_of }}, MAX(IF({{ date }} <= {{ as_of }}, {{ date }}, NULL)), DAY)
{%- endmacro %}

{#
Days from the first purchase to the as-of date; NULL for whoever has none before it.

- `date`, `as_of`: as for `std.recency_days`

Gives an aggregate, INT64. Group by the customer.
#}
{% macro tenure_days(date, as_of='@run_date') %}
DATE_DIFF({{ as_of }}, MIN(IF({{ date }} <= {{ as_of }}, {{ date }}, NULL)), DAY)
{%- endmacro %}

{#
How many purchases there were up to the as-of date.

- `date`, `as_of`: as for `std.recency_days`

Gives an aggregate, INT64, 0 where there were none. Group by the customer.
#}
{% macro frequency(date, as_of='@run_date') %}
COUNTIF({{ date }} <= {{ as_of }})
{%- endmacro %}

{#
What was spent up to the as-of date.

- `date`, `as_of`: as for `std.recency_days`
- `amount`: what one purchase was worth; an unknown amount adds nothing

Gives an aggregate of the amount's type, 0 where nothing was spent. Group by the customer.
#}
{% macro monetary(date, amount, as_of='@run_date') %}
COALESCE(SUM(IF({{ date }} <= {{ as_of }}, {{ amount }}, NULL)), 0)
{%- endmacro %}

{#
The four figures of a purchase history at once.

- `date`, `amount`, `as_of`: as for `std.monetary`

Gives four columns: `recency_days`, `tenure_days`, `frequency` and `monetary`. Group by the customer.
#}
{% macro rfm(date, amount, as_of='@run_date') %}
{{ std.recency_days(date, as_of) }} AS recency_days,
{{ std.tenure_days(date, as_of) }} AS tenure_days,
{{ std.frequency(date, as_of) }} AS frequency,
{{ std.monetary(date, amount, as_of) }} AS monetary
{%- endmacro %}
