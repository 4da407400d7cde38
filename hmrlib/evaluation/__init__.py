"""How far a prediction is from the truth.

`metrics` are the field's measures, `protocols` apply them to sets of records. It may import
`render`, and what is before that.
"""
