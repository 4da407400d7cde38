"""A photograph goes in, a person comes out: detector, crop, network, fitting and camera together.

The room is called `prediction` because `hmrlib.predict` is the function that is its front door.
"""

from hmrlib.prediction.person import People, Person
from hmrlib.prediction.photograph import PredictionError
from hmrlib.prediction.predictor import Predictor, predict

__all__ = ["People", "Person", "PredictionError", "Predictor", "predict"]
