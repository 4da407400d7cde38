"""Gradients and traces of functions, on whichever backend runs the tests."""

import keras
import numpy as np


def gradient(function, point):
    """d function / d point at a float32 array `point`, as an array of its shape."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        variable = tf.Variable(point)
        with tf.GradientTape() as tape:
            value = function(variable)
        return tape.gradient(value, variable).numpy()
    if backend == "jax":
        import jax

        return np.asarray(jax.grad(function)(point))
    import torch

    variable = torch.tensor(point, requires_grad=True)
    function(variable).backward()
    return variable.grad.numpy()


def traced(function):
    """The function as the backend traces it: a graph of TensorFlow, a jit of JAX."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function)
    if backend == "jax":
        import jax

        return jax.jit(function)
    return function
