"""The network: an encoder, keypoint maps, the iterative regressor; and the discriminator.

`hmr` puts the parts together. It may import `body`, and what is before that.
"""
