"""Synthetic people: dressed, lit, placed and photographed, with labels that are true.

It may import `learn`, and what is before that.
"""
