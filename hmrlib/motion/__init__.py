"""Recorded motion: read it, move it onto our body, learn which poses people take.

`mocap` reads BVH, ASF/AMC and AMASS, `skeletons` knows the names that programs give to joints,
`library` holds poses, `prior` is learned from them. It may import `fitting`, and what is before
that.
"""
