"""Photographs with labels: data sets of others, records, and the batches that training asks for.

`datasets` reads each data set's own form, `records` holds samples in shards, `pipeline` crops,
augments and mixes. It may import `motion`, and what is before that.
"""
