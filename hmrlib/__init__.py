"""hmrlib: learn, run and extend human mesh recovery.

One photograph in, a posed and shaped 3D human mesh out. Importing the package is cheap:
TensorFlow (or JAX, or PyTorch: `KERAS_BACKEND`) is loaded when a function first needs it.

    body = hmrlib.load_body()        # the open body, or a path to a model in SMPL's format
    out = body(betas, pose)          # out.vertices (B, V, 3), out.joints (B, 24, 3), metres
    people = hmrlib.predict("me.jpg")  # who is there: pose, shape, place; overlay, show, save
    hmrlib.show(body)                # sliders, in a notebook or in the web browser
"""

from importlib import import_module

__version__ = "0.1.0"

# name -> the module that has it; looked up on first use (PEP 562)
_LAZY = {
    "load_body": "hmrlib.body.model",
    "Body": "hmrlib.body.model",
    "show": "hmrlib.viewing.show",
    "load_model": "hmrlib.training.checkpoint",
    "HMR": "hmrlib.network.hmr",
    "predict": "hmrlib.prediction",
    "read_image": "hmrlib.io.images",
}

__all__ = ["HMR", "Body", "__version__", "load_body", "load_model", "predict", "read_image", "show"]


def __getattr__(name):
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'hmrlib' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *_LAZY])
