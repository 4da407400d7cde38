"""Looking at bodies: figures, live viewers in notebooks and browsers, the page for a class.

It may import `people`, and what is before that.
"""
