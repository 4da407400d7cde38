"""A photograph goes in, a person comes out: detector, crop, network, fitting and camera together.

`photograph` and `given` read what goes in, `landmarks` finds people, `predictor` sends them through
network and fit (`refine`), `person` is what comes out, `draw` and `page` show it; `folder`, `video`
(with `frames`) and `others` do the same for many photographs, for videos, and for what other
programs found; `booth` is a widget of all this. The room is called `prediction` because
`hmrlib.predict` is the function that is its front door.
"""

from hmrlib.prediction.person import People, Person
from hmrlib.prediction.photograph import PredictionError
from hmrlib.prediction.predictor import Predictor, predict

__all__ = ["People", "Person", "PredictionError", "Predictor", "predict"]
