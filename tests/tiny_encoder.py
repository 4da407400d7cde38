"""An encoder that is built in no time. Imported, it is one of `keras.applications`."""

import keras
from keras import layers


def preprocess_input(images):
    return images / 127.5 - 1


def TinyEncoder(include_top, weights, input_tensor, input_shape):
    assert not include_top and weights is None and input_tensor.shape[1:] == input_shape
    x = layers.Conv2D(8, 5, 4, "same", use_bias=False, name="first")(input_tensor)
    x = layers.ReLU()(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.ReLU()(layers.Conv2D(16, 3, 2, "same", name="second")(x))
    return keras.Model(keras.utils.get_source_inputs(input_tensor), x)


keras.applications.TinyEncoder = TinyEncoder
