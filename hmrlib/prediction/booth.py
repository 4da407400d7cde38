"""A widget: drop a photograph, see the people in it, and pull at one of them.

from hmrlib.prediction.booth import Booth
Booth()
"""

import html
import io
import threading

from PIL import Image

from hmrlib.body.model import load_body
from hmrlib.io import extra
from hmrlib.viewing.viewer import Explorer

with extra("viewers"):
    import anywidget
    import ipywidgets as widgets

SHOWN = 480  # pixels of the picture's longer side
PHOTOGRAPH, NETWORK, FITTED = "photograph", "network alone", "fitted to landmarks"
WELCOME = "The picture stays on this machine."


class Drop(anywidget.AnyWidget):
    """A place to drop a photograph on, or to choose one by; hands its bytes over.

    A large one is reduced in the browser first: messages to a kernel are limited.

    Args:
        take: function of (name, bytes).
    """

    _esm = """
    const LARGEST = 6e6, SIDE = 2400;  // bytes that are sent as they are, else pixels
    async function small(file) {
      if (file.size <= LARGEST) return file;
      const picture = await createImageBitmap(file, { imageOrientation: "from-image" });
      const scale = Math.min(1, SIDE / Math.max(picture.width, picture.height));
      const canvas = document.createElement("canvas");
      canvas.width = Math.round(picture.width * scale);
      canvas.height = Math.round(picture.height * scale);
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      return new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.92));
    }
    function render({ model, el }) {
      const zone = document.createElement("label"), input = document.createElement("input");
      zone.className = "hmr-drop";
      zone.tabIndex = 0;
      zone.textContent = "Drop a photograph here, or click to choose one";
      Object.assign(input, { type: "file", accept: "image/*", hidden: true });
      zone.append(input);
      const send = async (file) => {
        if (!file) return;
        try {
          model.send({ name: file.name }, undefined, [await (await small(file)).arrayBuffer()]);
        } catch {
          model.send({ name: file.name });
        }
      };
      const lit = (on) => (event) => {
        event.preventDefault();
        zone.classList.toggle("hmr-lit", on);
      };
      zone.addEventListener("dragover", lit(true));
      zone.addEventListener("dragleave", lit(false));
      zone.addEventListener("drop", (event) => {
        lit(false)(event);
        send(event.dataTransfer.files[0]);
      });
      zone.addEventListener("keydown", (event) => event.key === "Enter" && input.click());
      input.addEventListener("change", () => { send(input.files[0]); input.value = ""; });
      el.append(zone);
    }
    export default { render };
    """
    _css = """
    .hmr-drop { display: flex; align-items: center; justify-content: center; text-align: center;
      height: 88px; border: 2px dashed #8a94a6; border-radius: 10px; color: #3c4658;
      cursor: pointer; padding: 0 1rem; background: #f7f8fa; }
    .hmr-drop.hmr-lit { background: #e3f1fb; }
    /* beside the body, as tall as it, until there is a picture to show */
    @media (min-width: 1780px) {
      .hmr-booth:not(.hmr-seen) .hmr-drop { height: min(690px, 71vh); }
    }
    """

    def __init__(self, take):
        super().__init__()
        self.on_msg(lambda _, message, buffers: take(message["name"], b"".join(buffers)))


class Booth(widgets.Box):
    """A photograph's people, and sliders for one of them.

    Attributes:
        people: `People` of the last photograph, or None.
        explorer: `hmrlib.viewing.viewer.Explorer`, of the person that is chosen.

    Args:
        photograph: to begin with, as for `hmrlib.predict`; or None.
        body: `hmrlib.Body`; None: `hmrlib.load_body()`.
    """

    def __init__(self, photograph=None, body=None):
        self.people = None
        self.explorer = Explorer(load_body() if body is None else body, color="clothed")
        self._lock = threading.Lock()
        self._pictures = {}
        self.message = widgets.HTML(WELCOME)
        self.picture = widgets.Image(format="jpeg", layout={"width": "auto", "max_width": "100%"})
        self.choice = widgets.ToggleButtons(options=[PHOTOGRAPH, NETWORK, FITTED], value=FITTED)
        self._who = widgets.Dropdown(description="person")
        self._result = widgets.VBox([self.choice, self.picture, self._who])
        self._result.layout = {"align_items": "flex-start", "display": "none"}
        self.choice.observe(self._show, "value")
        self._who.observe(self._pull, "value")
        # beside one another if there is room for the explorer's two columns, too
        photograph_side = widgets.VBox([Drop(self.take), self.message, self._result])
        photograph_side.layout = {"flex": "1 1 420px", "min_width": "0"}
        self.explorer.layout = {"flex": "3 1 1300px", "min_width": "0"}
        super().__init__([photograph_side, self.explorer])
        self.layout = {"flex_flow": "row wrap", "grid_gap": "12px", "align_items": "flex-start"}
        self.add_class("hmr-booth")
        if photograph is not None:
            self.take("the photograph", photograph)

    def take(self, name, photograph):
        """Find the people of a photograph; what is wrong with it is said in a line.

        Args:
            name: to be shown.
            photograph: its bytes, or what else `hmrlib.predict` takes.
        """
        from hmrlib.prediction.predictor import predict

        if not self._lock.acquire(blocking=False):  # one after another
            return
        try:
            self._say(f"Looking at {name} …")
            people = predict(photograph)
        except (ValueError, OSError, ImportError) as error:
            self._say(" ".join(str(error).split()), wrong=True)
        else:
            self.people = people
            self._draw(name)
        finally:
            self._lock.release()

    def _draw(self, name):
        people = self.people
        pictures = {FITTED: people, NETWORK: people.network()}
        self._pictures = {title: _jpeg(some.overlay()) for title, some in pictures.items()}
        self._pictures[PHOTOGRAPH] = _jpeg(Image.fromarray(people.image))
        notes = sorted({person.note for person in people if person.note})
        focal = people[0]
        count = "One person" if len(people) == 1 else f"{len(people)} people"
        told = f"{count} in {name}; focal length {focal.camera.focal:.0f} px ({focal.focal_from})."
        self._say(" ".join([told, *(f"Not fitted: {note}." for note in notes)]))
        self._result.layout.display = "flex"
        self.add_class("hmr-seen")
        self._who.layout.display = "" if len(people) > 1 else "none"
        self._who.options = [(str(i + 1), i) for i in range(len(people))]
        self._who.index = 0
        self._show()
        self._pull()

    def _show(self, _=None):
        self.picture.value = self._pictures.get(self.choice.value, b"")
        if self.choice.value != PHOTOGRAPH:
            self._pull()

    def _pull(self, _=None):
        """Give the explorer the chosen person's shape and pose."""
        if self.people and self._who.value is not None:
            shown = self.people.network() if self.choice.value == NETWORK else self.people
            person = shown[self._who.value]
            self.explorer.set(person.betas[: len(self.explorer.betas)], person.upright_pose())

    def _say(self, text, wrong=False):
        color = "#a33" if wrong else "#3c4658"
        self.message.value = (
            f'<span class="hmr-says" style="color:{color}">{html.escape(text)}</span>'
        )


def _jpeg(picture):
    """The bytes of a small copy of a PIL image."""
    picture = picture.copy()
    picture.thumbnail((SHOWN, SHOWN), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90)
    return file.getvalue()
