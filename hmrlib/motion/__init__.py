"""Recorded motion: read it, move it onto our body, learn which poses people take.

`clips` reads BVH, ASF/AMC and AMASS; `skeletons` knows the names that programs give to joints;
`retarget` moves a clip onto the body, and `gather` whole folders, into libraries of poses, which
`library` reads; `prior` is learned from them; `smooth` takes noise off, and `export` writes motions
for other programs. It may import `fitting`, and what is before that.
"""
