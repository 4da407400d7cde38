"""The body: SMPL's function of β and θ, with its files and keypoints.

`model` is the paper's equations in Keras, `skinning` their last step, `compiled` how they are made
fast; `kinematics` is the same in NumPy, for all who need no gradient. `files` reads and writes
models, `keypoints` finds joints and landmarks on the surface, `gltf` saves the body for other
programs. It may import `io`, `skeleton`, `geometry` and `camera`.
"""
