"""How far a prediction is from the truth.

`metrics` are the field's measures, `protocols` its ways to apply them to data sets, with intervals
and tables; `validation` is the quick look that training takes. It may import `render`, and what is
before that.
"""
