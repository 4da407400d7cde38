"""Whole data sets of synthetic people, by all cores or by many machines."""
