"""How the network is trained: settings, losses, the adversarial game, checkpoints, the loop.

It may import `evaluation`, and what is before that.
"""
