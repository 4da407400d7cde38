"""Watching a training from a notebook."""

import keras
from matplotlib import pyplot as plt

from hmrlib.io import extra

with extra("viewers"):
    from IPython.display import display


class LiveCurves(keras.callbacks.Callback):
    """Draws losses below the cell while a network trains.

    Args:
        *panels: names of losses, a tuple for each axis.
        every: steps between two drawings; the losses of all steps are drawn.
        title: of the first axis.

    Attributes:
        history: name -> list of floats, one a step.
        figure: None before the training.
    """

    def __init__(self, *panels, every=50, title=""):
        super().__init__()
        self.panels, self.every, self.title = panels, every, title
        self.history = {name: [] for panel in panels for name in panel}
        self.figure = None

    def on_train_begin(self, logs=None):
        self.figure, self.axes = plt.subplots(
            1, len(self.panels), squeeze=False, figsize=(3.6 * len(self.panels), 2.3)
        )
        self.lines = {}
        for axis, panel in zip(self.axes[0], self.panels, strict=True):
            for name in panel:
                (self.lines[name],) = axis.plot([], [], linewidth=1, label=name.replace("_", " "))
            axis.set(xlabel="step", yscale="log")
            axis.legend(loc="upper right")
        self.axes[0, 0].set_title(self.title)
        self.handle = display(self.figure, display_id=True)

    def on_train_batch_end(self, batch, logs=None):
        for name, values in self.history.items():
            values.append(float(logs[name]))
        if len(values) % self.every == 0:
            self._draw()

    def on_train_end(self, logs=None):
        self._draw()
        plt.close(self.figure)  # or the notebook shows it once more

    def _draw(self):
        for name, line in self.lines.items():
            line.set_data(range(1, len(self.history[name]) + 1), self.history[name])
        for axis in self.axes[0]:
            axis.relim()
            axis.autoscale_view()
        if self.handle is not None:
            self.handle.update(self.figure)
