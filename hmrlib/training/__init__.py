"""How the network is trained: settings, losses, adversarial training, checkpoints, the loop.

It may import `evaluation`, and what is before that.
"""
