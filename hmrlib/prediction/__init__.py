"""A photograph goes in, a person comes out: detector, crop, network, fitting and camera together.

The room is called `prediction` because `hmrlib.predict` is the function that is its front door.
"""
