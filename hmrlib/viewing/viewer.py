"""A body to see and to touch in a notebook: the two viewers behind `hmrlib.viewing.show`.

`Explorer` (pythreejs and ipywidgets) asks the kernel for each picture, so that it shows just what
Python computes. `Live` computes the body in the browser and needs no kernel once it is there: see
`hmrlib.viewing.live`. Controls and looks are the same.
"""

import json
import tempfile
import threading
import uuid
from contextlib import contextmanager
from functools import lru_cache, partial
from pathlib import Path

import matplotlib
import numpy as np

from hmrlib.io import extra
from hmrlib.motion.prior import load_prior
from hmrlib.render import CLAY, ambient_occlusion, rasterizer
from hmrlib.render.textures import to_linear
from hmrlib.skeleton import BONES, JOINT_NAMES
from hmrlib.viewing import live
from hmrlib.viewing.show import checked

with extra("viewers"):
    import anywidget
    import ipywidgets as widgets
    import pythreejs as three
    import traitlets

SIZE = (620, 720)  # of the explorer's picture, in pixels
MAX_UNDO = 100
COLORS = {
    "clay": "clay",
    "plain clothes": "clothed",
    "weights of the joint": "weights",
    "what correctives do": "correctives",
    "linear against dual quaternions": "skinning",
}


def as_text(betas, pose):
    """betas and pose as one line of JSON, which `read_text` reads."""
    return json.dumps({"betas": live.rounded(betas), "pose": live.rounded(pose)})


class TextError(ValueError):
    """Text that is no pose; the message is a sentence for who pasted it."""


def read_text(text, num_betas):
    """betas and pose from text: JSON as `as_text` writes it, or a list that is the pose alone.

    Returns:
        betas (n,) or None, pose (24, 3) or None.

    Raises:
        TextError: a sentence that says what was expected and what was found.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        raise TextError('This is not JSON: expected {"betas": […], "pose": […]}.') from None
    found = {"pose": found} if isinstance(found, list) else found
    if not isinstance(found, dict) or not {"betas", "pose"} & found.keys():
        raise TextError("Found neither betas nor pose.")
    joints = len(JOINT_NAMES)
    arrays = {}
    for name in found.keys() & {"betas", "pose"}:
        try:
            array = np.asarray(found[name], float).ravel()
        except (TypeError, ValueError, OverflowError):
            array = np.array([np.nan])
        if not np.isfinite(array).all():
            raise TextError(f"{name}: expected numbers alone.")
        if name == "betas" and len(array) > num_betas:
            raise TextError(f"betas: expected at most {num_betas} numbers, found {len(array)}.")
        if name == "pose" and len(array) != 3 * joints:
            raise TextError(f"pose: expected {3 * joints} numbers, found {len(array)}.")
        arrays[name] = array.reshape(-1, 3) if name == "pose" else array
    return arrays.get("betas"), arrays.get("pose")


class Live(anywidget.AnyWidget):
    """The kernel-free viewer as a widget; `betas` and `pose` follow it while a kernel listens.

    Attributes:
        betas: list of numbers. pose: list of 72, radians. Assign to them to move the body.
        options: dict, see `live.make_live`.
    """

    _esm = live.BUNDLE
    data = traitlets.Bytes().tag(sync=True)
    betas = traitlets.List(traitlets.Float()).tag(sync=True)
    pose = traitlets.List(traitlets.Float()).tag(sync=True)
    options = traitlets.Dict().tag(sync=True)

    def __init__(self, body, betas=None, pose=None, reference=None, **options):
        """Arguments as of `show`."""
        betas, pose, reference = checked(body, betas, pose, reference)
        super().__init__(
            data=live.pack(body.model, reference, len(betas)),
            betas=betas.tolist(),
            pose=pose.ravel().tolist(),
            options=options,
        )


class Link(anywidget.AnyWidget):
    """What pythreejs and ipywidgets lack between kernel and page.

    A picture as one message, put into pythreejs's buffers where they are, normals made in the
    browser (an array assigned to a trait is answered by a message of its own, which the kernel
    answers again); a sentence when WebGL or the kernel is gone; files to save.

    Attributes:
        buffers: name -> id of the `BufferAttribute` whose array `show` replaces.
        geometry, renderer: ids of the widgets that a picture concerns.
    """

    _esm = """
    const NO_WEBGL = "This browser draws no 3D here: WebGL is off or missing. Turn on hardware " +
      "acceleration in the browser's settings, or open the page in another browser.";
    const NO_KERNEL = "The kernel does not answer, so the body stands still. Wait if it is busy; " +
      "else start it and run the notebook again. (The kernel-free viewer needs none.)";
    function initialize({ model }) {
      let parts;
      const find = async (id) => {
        const found = await model.widget_manager.get_model(id);
        await found.initPromise;
        return found;
      };
      const findAll = async () => {
        const names = Object.keys(model.get("buffers"));
        const buffers = await Promise.all(names.map((name) => find(model.get("buffers")[name])));
        return {
          buffers: Object.fromEntries(names.map((name, i) => [name, buffers[i].obj])),
          geometry: (await find(model.get("geometry"))).obj,
          renderer: await find(model.get("renderer")),
        };
      };
      let rest = 0;
      model.on("msg:custom", async (message, bytes) => {
        if (!message.buffers) return;
        clearTimeout(rest);
        rest = setTimeout(() => model.send({ rests: true }), 300);
        const { buffers, geometry, renderer } = await (parts ??= findAll());
        message.buffers.forEach((name, i) => {
          const { array } = buffers[name], { buffer, byteOffset, byteLength } = bytes[i];
          new Uint8Array(array.buffer, array.byteOffset, array.byteLength)
            .set(new Uint8Array(buffer, byteOffset, byteLength));
          buffers[name].needsUpdate = true;
        });
        geometry.computeVertexNormals();
        renderer.trigger("rerender", renderer, {});
      });
    }
    function render({ model, el }) {
      const line = document.createElement("div");
      line.className = "hmr-link";
      el.append(line);
      const say = (text) => { line.textContent = text; };
      if (!document.createElement("canvas").getContext("webgl2")) say(NO_WEBGL);
      let timer = 0;
      const send = () => {
        timer = setTimeout(() => say(NO_KERNEL), 4000);
        try { model.send({ asked: true }); } catch { say(NO_KERNEL); }
      };
      const ask = () => { // only if no picture comes meanwhile, which is an answer as well
        if (!timer && line.textContent !== NO_WEBGL) timer = setTimeout(send, 500);
      };
      model.on("msg:custom", (message, buffers) => {
        if (message.name) {
          const url = URL.createObjectURL(new Blob([buffers[0]]));
          Object.assign(document.createElement("a"), { href: url, download: message.name }).click();
          setTimeout(() => URL.revokeObjectURL(url), 1000);
        }
        clearTimeout(timer);
        timer = 0;
        if (line.textContent === NO_KERNEL) say("");
      });
      const watch = setTimeout(() => {
        const explorer = el.closest(".hmr-explorer");
        for (const event of ["pointerdown", "keydown", "change"])
          explorer?.addEventListener(event, ask, true);
        requestAnimationFrame(() => setTimeout(() => model.send({ drawn: true })));
      });
      return () => { clearTimeout(timer); clearTimeout(watch); };
    }
    export default { initialize, render };
    """
    _css = """
    .hmr-link { color: #b3471a; font-size: 13px; margin: 2px 4px; }
    .hmr-explorer .hmr-head { font-weight: 600; font-size: 13px; line-height: 20px; }
    .hmr-explorer .widget-html-content { line-height: 1.4; font-size: 12px; }
    .hmr-explorer button { min-width: max-content; padding: 0 8px; }
    .hmr-explorer .hmr-picture { background: radial-gradient(circle at 50% 35%, #fff, #e9edf2);
      border-radius: 6px; } /* unclipped: a round clip costs software GL 10 ms a frame */
    .hmr-explorer .hmr-picture canvas { display: block; width: 100% !important;
      height: auto !important; } /* pythreejs sets its size in pixels */
    .hmr-explorer .widget-slider .noUi-connects { background: linear-gradient(to right,
      #d5dbe1 var(--low, 25%), #7fb2dc var(--low, 25%) var(--high, 75%),
      #d5dbe1 var(--high, 75%)); } /* the usual range */
    .hmr-explorer .widget-readout { min-width: 46px; }
    .hmr-explorer .hmr-far .widget-readout { color: #c2571a; }
    .hmr-explorer .hmr-text textarea { font: 11px/1.35 "DejaVu Sans Mono", monospace; }
    """

    buffers = traitlets.Dict().tag(sync=True)
    geometry = traitlets.Unicode().tag(sync=True)
    renderer = traitlets.Unicode().tag(sync=True)

    def __init__(self, buffers, geometry, renderer, drawn, rests):
        """Widgets, and what to call when a browser has drawn the page, and when pictures pause."""
        super().__init__(
            buffers={name: widget.model_id for name, widget in buffers.items()},
            geometry=geometry.model_id,
            renderer=renderer.model_id,
        )

        def answer(widget, content, received):
            if content.get("drawn"):
                drawn()
            elif content.get("rests"):
                rests()
            else:
                self.send({"answer": True})

        self.on_msg(answer)

    def show(self, arrays):
        """Name -> array, of the size that its buffer has."""
        self.send({"buffers": list(arrays)}, [memoryview(array) for array in arrays.values()])


class Explorer(widgets.VBox):
    """Sliders for every beta and every joint, and a picture that the kernel computes.

    Attributes:
        body: the `Body`.
        betas: (S,) as the sliders say. pose: (24, 3), radians.
        vertices: (V, 3) and joints (24, 3) metres, as `body` returns them.
    """

    def __init__(self, body, betas=None, pose=None, reference=None, **options):
        """Arguments as of `show`."""
        self.body = body
        self.betas, self.pose, self.reference = checked(body, betas, pose, reference)
        self._start = self.betas.copy(), self.pose.copy()
        self._past = []
        self._quiet = False
        self._compiled = {}  # (skinning, correctives) -> function
        self._drawn = False  # by a browser
        self._lock = threading.RLock()  # Jupyter may call handlers from several threads
        self._own = f"hmr-{uuid.uuid4().hex}"  # class of its elements, for styles of its own
        self._draws = np.random.default_rng()
        self._limits = live.joint_limits()
        self.occlusion = 0.45 + 0.55 * ambient_occlusion(body.v_template, body.faces)[:, None]
        plain = {"clay": np.array(CLAY), "clothed": live.clothed(body.model)}
        self._plain = {
            kind: (to_linear(color) * self.occlusion).astype(np.float32)
            for kind, color in plain.items()
        }
        picture = self._picture()
        panel = self._panel()
        self.message = widgets.HTML()
        row = widgets.HBox([picture, panel], layout={"flex_flow": "row wrap", "grid_gap": "12px"})
        row.layout.align_items = "flex-start"
        parts = self._buffers, self.geometry, self._renderer
        self._link = Link(*parts, drawn=self.browser_has_drawn, rests=self._write_text)
        super().__init__([row, self.message, self._link])
        with self._quietly():
            for name, value in options.items():
                self._options[name].value = value
        self.add_class("hmr-explorer").add_class(self._own)
        self._update()

    # --- the body ---

    def browser_has_drawn(self):
        """A browser has drawn the page: from now on it takes messages; what it missed, it gets."""
        self._drawn = True
        self._update()

    def _function(self, skinning, correctives):
        """The body's function; the plain one until the compiled one is ready."""
        key = skinning, correctives
        if self._drawn and key not in self._compiled:  # while the reader looks
            self._compiled[key] = None

            def compile():
                self._compiled[key] = _compiled(self.body, len(self.betas), *key)

            threading.Thread(target=compile).start()
        plain = partial(self.body, skinning=skinning, correctives=correctives, compiles=False)
        return self._compiled.get(key) or plain

    def _pose(self, skinning, correctives):
        """vertices (V, 3) and joints (24, 3), metres."""
        out = self._function(skinning, correctives)(self.betas[None], self.pose[None])
        return np.asarray(out.vertices)[0], np.asarray(out.joints)[0]

    def _update(self):
        """Compute the body and send it: positions, and what else of the picture changed."""
        with self._lock:
            self.vertices, self.joints = self._pose(
                self.skinning_menu.value, self.correctives_box.value
            )
            lift = np.array([0, -self.vertices[:, 1].min() if self._ground.value else 0, 0])
            arrays = {"position": (self.vertices + lift).astype(np.float32)}
            colors = self._colors()
            if not np.array_equal(colors, self._buffers["albedo"].array):
                arrays["albedo"] = colors
            if self._skeleton.visible:
                arrays["skeleton"] = _skeleton_points(self.joints + lift).astype(np.float32)
            self._put(arrays)

    def _put(self, arrays):
        """Put arrays, by name, into the picture's buffers."""
        normals = np.empty_like(arrays["position"])
        nowhere = np.empty(0, np.uint32)
        rasterizer.vertex_normals(arrays["position"], self.body.faces, nowhere, normals)
        if self._drawn:
            self._link.show(arrays)  # the browser makes the normals
        for name, array in (arrays | {"normal": normals}).items():
            if self._drawn:  # also here, in place, of which nobody is told: a page may load anew
                self._buffers[name].array[:] = array
            else:
                self._buffers[name].array = array

    def _colors(self):
        """(V, 3) linear colours, darker in hollows; sets the legend."""
        kind = self.color_menu.value
        if kind in self._plain:
            self.legend.value = ""
            return self._plain[kind]
        if kind == "weights":
            values, top, unit = self.body.weights[:, self.joint_menu.value], 1, ""
        else:
            skinning, correctives = self.skinning_menu.value, self.correctives_box.value
            if kind == "correctives":
                other = self._pose(skinning, not correctives)[0]
            elif kind == "skinning":
                other = self._pose("dqs" if skinning == "lbs" else "lbs", correctives)[0]
            else:
                other = self.reference
            values = 1000 * np.linalg.norm(self.vertices - other, axis=1)
            top, unit = max(1, int(np.ceil(values.max()))), " mm"
        self.legend.value = _legend(top, unit)
        ramp = matplotlib.colormaps["viridis"](np.clip(values / top, 0, 1))[:, :3]
        return (to_linear(ramp) * self.occlusion).astype(np.float32)

    # --- the picture ---

    def _picture(self):
        zeros = np.zeros((len(self.body.v_template), 3), np.float32)
        vertex = {
            name: three.BufferAttribute(zeros, False) for name in ("position", "normal", "albedo")
        }
        index = three.BufferAttribute(self.body.faces.ravel().astype(np.uint32), False)
        self.geometry = three.BufferGeometry(attributes=vertex | {"index": index})
        shaders = {
            "vertexShader": live.VERTEX_SHADER,
            "fragmentShader": live.FRAGMENT_SHADER,
        }
        offset = {"polygonOffset": True, "polygonOffsetFactor": 1, "polygonOffsetUnits": 1}
        figure = three.Mesh(self.geometry, three.ShaderMaterial(**shaders, **offset))
        lines = three.MeshBasicMaterial(
            color=live.EDGE_COLOR, wireframe=True, transparent=True, opacity=0.35
        )
        self._edges = three.Mesh(self.geometry, lines, visible=False)
        (x, z), tiny = live.SHADOW_SLANT, 1e-4  # everything onto y = 0; columns first
        self._shadow = three.Mesh(
            self.geometry,
            three.MeshBasicMaterial(color=live.SHADOW_COLOR),
            matrixAutoUpdate=False,
            matrix=[1, 0, 0, 0, x, tiny, z, 0, 0, 0, 1, 0, 0, 0, 0, 1],
        )
        disc = three.CircleBufferGeometry(live.FLOOR_RADIUS, 96)
        self._floor = three.Mesh(disc, three.MeshBasicMaterial(color=live.FLOOR_COLOR))
        self._floor.quaternion = (-np.sqrt(0.5), 0, 0, np.sqrt(0.5))  # lying; Euler angles are lost
        self._floor.position = (0, -0.003, 0)
        self._skeleton = _skeleton_mesh()
        self._buffers = vertex | {"skeleton": self._skeleton.geometry.attributes["position"]}
        meshes = [self._floor, self._shadow, figure, self._edges, self._skeleton]
        for mesh in meshes:
            mesh.frustumCulled = False  # its bounds are those of the first picture
        width, height = SIZE
        camera = three.PerspectiveCamera(
            fov=live.VIEW["fov"], aspect=width / height, near=0.05, far=100
        )
        # the controls look at the origin until they are touched: so the target is put there
        down = tuple(-np.array(live.VIEW["target"], float))
        camera.position = tuple(np.add(live.VIEW["eye"], down))
        camera.lookAt((0, 0, 0))
        self._orbit = three.OrbitControls(controlling=camera, autoRotateSpeed=6)
        picker = three.Picker(controlling=figure, event="dblclick")
        picker.observe(lambda change: self.pick(change["new"]), "point")
        group = three.Group(children=meshes, position=down)
        self._renderer = three.Renderer(
            camera=camera,
            scene=three.Scene(children=[group, camera], background=None),
            controls=[self._orbit, picker],
            width=width,
            height=height,
            antialias=True,
            alpha=True,
            clearOpacity=0,
        )
        self.legend = widgets.HTML()
        stage = widgets.Box([self._renderer], layout={"display": "block", "overflow": "hidden"})
        stage.add_class("hmr-picture")
        # as wide as it is drawn, if the window lets it be, and shows all of its height
        wide = f"min({width}px, 100%, {75 * width // height}vh)"
        return widgets.VBox([stage, self.legend], layout={"width": wide, "flex": "0 0 auto"})

    def pick(self, point):
        """Choose the joint that holds the vertex nearest to a point (3,) of the picture's world."""
        point = np.array(point, float) + live.VIEW["target"]
        shown = self._buffers["position"].array
        vertex = np.linalg.norm(shown - point, axis=1).argmin()
        self.joint_menu.value = int(self.body.weights[vertex].argmax())

    # --- the controls ---

    def _panel(self):
        style, wide = {"description_width": "58px"}, {"width": "auto"}
        small = {"width": "auto", "height": "22px", "margin": "0 8px 0 2px"}
        thin = {"width": "auto", "height": "24px", "margin": "0 2px"}

        def slider(name, limit, step, form, changed):
            control = widgets.FloatSlider(
                description=name,
                min=-limit,
                max=limit,
                step=step,
                readout_format=form,
                style={"description_width": "34px"},
                layout=thin,
            )
            control.observe(changed, "value")
            return control

        def dropdown(name, options, changed, value=None):
            control = widgets.Dropdown(
                description=name, options=options, value=value, style=style, layout=wide
            )
            control.observe(changed, "value")
            return control

        def button(name, clicked, hint=""):
            control = widgets.Button(
                description=name,
                tooltip=hint,
                layout={"width": "auto", "height": "26px", "margin": "2px"},
            )
            control.on_click(lambda _: clicked())
            return control

        def check(name, value, changed, hint):
            control = widgets.Checkbox(
                description=name, value=value, indent=False, tooltip=hint, layout=small
            )
            control.observe(changed, "value")
            return control

        def head(text):
            control = widgets.HTML(text, layout={"margin": "2px 0 0 2px"})
            control.add_class("hmr-head")
            return control

        def preset(name, entries, apply):
            def chosen(change):
                if change["new"]:
                    apply(entries[change["new"]])
                    control.value = ""

            options = [("choose …", ""), *((_title(key), key) for key in entries)]
            control = dropdown(name, options, chosen, "")
            return control

        def redraw(change=None):
            if not self._quiet:
                self._update()

        def visible(*meshes):
            def switch(change):
                for mesh in meshes:
                    mesh.visible = change["new"]
                redraw()

            return switch

        bodies = live.preset_bodies(self.body.model, len(self.betas))
        joints = [(f"{group}: {_title(j)}", j) for group, js in live.GROUPS.items() for j in js]
        joints = [(name, JOINT_NAMES.index(joint)) for name, joint in joints]
        self.shape_sliders = [
            slider(f"β{_subscript(i)}", 4, 0.05, ".2f", self._slid) for i in range(len(self.betas))
        ]
        self.joint_menu = dropdown(
            "joint", joints, lambda _: self._refresh(redraw), JOINT_NAMES.index("left_elbow")
        )
        self.angle_sliders = [
            slider(axis, 180, 1, ".0f", self._slid).add_class(f"hmr-{axis}") for axis in "xyz"
        ]
        self._usual = widgets.HTML()
        skinnings = [("linear blends", "lbs"), ("dual quaternions", "dqs")]
        self.skinning_menu = dropdown("skinning", skinnings, redraw, "lbs")
        colors = list(COLORS.items())
        if self.reference is not None:
            colors.append(("distance from the reference", "error"))
        self.color_menu = dropdown("colour", colors, redraw, "clay")
        self.correctives_box = check("correctives", True, redraw, "pose blend shapes")
        self._ground = check(
            "ground", True, visible(self._floor, self._shadow), "stand on the ground"
        )
        turn = check("turn", False, self._turn, "a turntable")
        bones = check("skeleton", False, visible(self._skeleton), "joints and bones")
        mesh = check("mesh", False, visible(self._edges), "the triangles' edges")
        self._options = {
            "skeleton": bones,
            "mesh": mesh,
            "ground": self._ground,
            "turn": turn,
            "correctives": self.correctives_box,
            "skinning": self.skinning_menu,
            "color": self.color_menu,
            "joint": self.joint_menu,
        }
        self.text_area = widgets.Textarea(rows=3, layout=wide)
        self.text_area.add_class("hmr-text")
        wrap = {"flex_flow": "row wrap"}
        shape = [
            widgets.HBox(
                [
                    button("Undo", self.undo, "take the last change back"),
                    button("Reset", self.reset, "back to the beginning"),
                    button("Random body", self._random_body, "draw from the population"),
                    button("Random pose", self._random_pose, "draw a pose"),
                ],
                layout=wrap,
            ),
            preset("body", bodies, lambda betas: self.set(betas=betas)),
            preset("pose", live.preset_poses(), lambda pose: self.set(pose=pose)),
            head("Shape"),
            *self.shape_sliders,
        ]
        pose = [
            head("Pose, in degrees"),
            self.joint_menu,
            *self.angle_sliders,
            self._usual,
            head("Terms and looks"),
            self.skinning_menu,
            self.color_menu,
            widgets.HBox([self.correctives_box, bones, mesh, self._ground, turn], layout=wrap),
            head("As text, as a file"),
            self.text_area,
            widgets.HBox(
                [
                    button("Apply", self.paste, "use betas and pose of the text above"),
                    button("Save OBJ", lambda: self._download("body.obj"), "this mesh"),
                    button("Save GLB", lambda: self._download("body.glb"), "with its skeleton"),
                ]
            ),
        ]
        self._refresh()
        column = {"flex": "1 1 316px", "min_width": "0", "overflow": "hidden"}
        columns = [widgets.VBox(rows, layout=column) for rows in (shape, pose)]
        return widgets.Box(
            columns, layout=wrap | {"flex": "1 1 316px", "min_width": "0", "grid_gap": "0 12px"}
        )

    @contextmanager
    def _quietly(self):
        """Set controls without each of them asking for a picture."""
        before, self._quiet = self._quiet, True
        try:
            yield
        finally:
            self._quiet = before

    def _refresh(self, then=None):
        """Bring the controls to betas and pose."""
        joint = self.joint_menu.value
        with self._quietly():
            for control, beta in zip(self.shape_sliders, self.betas, strict=True):
                control.value = beta
            for control, angle in zip(
                self.angle_sliders, np.degrees(self.pose[joint]), strict=True
            ):
                control.value = angle
        limits = list(zip("xyz", self._limits[joint], strict=True))
        ranges = ", ".join(f"{axis} {low:.0f} to {high:.0f}" for axis, (low, high) in limits)
        bars = "".join(
            f".{self._own} .hmr-{axis} {{ --low: {50 + low / 3.6:.1f}%; "
            f"--high: {50 + high / 3.6:.1f}%; }} "
            for axis, (low, high) in limits
        )
        self._usual.value = (
            f"<style>{bars}</style>usual: {ranges} (or double-click the body to choose a joint)"
        )
        for control in (*self.shape_sliders, *self.angle_sliders):
            self._mark(control)
        self._write_text()
        if then is not None:
            then()

    def _mark(self, control):
        """Let a slider's number stand out if it is not a usual one."""
        low, high = -2, 2  # standard deviations
        if control in self.angle_sliders:
            axis = self.angle_sliders.index(control)
            low, high = self._limits[self.joint_menu.value][axis]
        usual = low <= control.value <= high
        (control.remove_class if usual else control.add_class)("hmr-far")

    def _slid(self, change):
        if self._quiet:
            return
        control, before = change["owner"], (self.betas.copy(), self.pose.copy())
        if control in self.shape_sliders:
            self.betas[self.shape_sliders.index(control)] = control.value
        else:
            self.pose[self.joint_menu.value, self.angle_sliders.index(control)] = np.radians(
                control.value
            )
        if not self._past or self._past[-1][1] is not control:  # a whole drag is one step
            self._remember(before, control)
        self._mark(control)
        self._update()
        if not self._drawn:  # else it waits for the end of the drag
            self._write_text()

    def _write_text(self):
        self.text_area.value = as_text(self.betas, self.pose)

    def _remember(self, state, control=None):
        self._past = [*self._past, (state, control)][-MAX_UNDO:]

    def set(self, betas=None, pose=None):
        """Move the body and its sliders; None leaves as it is, missing betas are zero.

        Raises:
            ValueError: a wrong number of numbers.
        """
        before = self.betas.copy(), self.pose.copy()
        new_betas, new_pose, _ = checked(self.body, betas, pose, None)
        if betas is not None:
            if len(new_betas) > len(self.betas):
                raise ValueError(
                    f"betas: expected at most {len(self.betas)} numbers, found {len(new_betas)}"
                )
            self.betas = new_betas
        if pose is not None:
            self.pose = new_pose
        self._remember(before)
        self.message.value = ""
        self._refresh(self._update)

    def undo(self):
        """Take the last change back; a drag of one slider counts as one change."""
        if self._past:
            (self.betas, self.pose), _ = self._past.pop()
            self._refresh(self._update)

    def reset(self):
        """Back to the betas and the pose of the beginning."""
        self.set(*self._start)

    def _random_body(self):
        self.set(betas=self._draws.standard_normal(len(self.betas)))

    def _random_pose(self):
        self.set(pose=load_prior().sample(1, int(self._draws.integers(2**31)))[0])

    def _turn(self, change):
        self._orbit.autoRotate = change["new"]

    def paste(self):
        try:
            self.set(*read_text(self.text_area.value, len(self.betas)))
        except ValueError as error:
            self.message.value = f'<span class="hmr-link">{error}</span>'

    def _download(self, name):
        """Hand a file to the browser, which may be far from the kernel's own disk."""
        with tempfile.TemporaryDirectory() as folder:
            path = self.save(Path(folder) / name)
            self._link.send({"name": name}, [path.read_bytes()])

    def save(self, path):
        """Write the body as it stands: `.obj`, `.ply`, its mesh; `.glb`, a figure in this pose.

        The `.glb` keeps its skeleton and can be posed anew elsewhere; glTF has no pose correctives.

        Raises:
            hmrlib.body.files.ModelFileError: another suffix.
        """
        self.body.save(path, self.betas, self.pose, frame="body")
        return Path(path)


@lru_cache(maxsize=8)
def _compiled(body, num_betas, skinning, correctives):
    """The body's function for one body, compiled; once for all explorers of this body."""
    function = body.compile(skinning, correctives)
    function(np.zeros((1, num_betas)), np.zeros((1, len(body.parents), 3)))  # as `_pose` calls it
    return function


def _title(name):
    return name.replace("_", " ")


def _subscript(number):
    return str(number).translate(str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉"))


def _legend(top, unit):
    ramp = (matplotlib.colormaps["viridis"](np.linspace(0, 1, 16)) * 255).astype(int)
    stops = ",".join(f"rgb({r} {g} {b})" for r, g, b, _ in ramp)
    bar = f"display:inline-block;width:120px;height:9px;background:linear-gradient(90deg,{stops})"
    return f'0{unit} <span style="{bar}"></span> {top}{unit}'


def _ball():
    """An octahedron whose edges are halved once: points (18, 3) of length 1, faces (32, 3)."""
    points = [(1, 0, 0), (-1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1)]
    corners = [(0, 2, 4), (2, 1, 4), (1, 3, 4), (3, 0, 4), (2, 0, 5), (1, 2, 5), (3, 1, 5)]
    corners.append((0, 3, 5))
    faces, between = [], {}
    for a, b, c in corners:
        middle = []
        for pair in ((a, b), (b, c), (c, a)):
            key = tuple(sorted(pair))
            if key not in between:
                between[key] = len(points)
                points.append(np.add(points[pair[0]], points[pair[1]]))
            middle.append(between[key])
        d, e, f = middle
        faces += [(a, d, f), (b, e, d), (c, f, e), (d, e, f)]
    points = np.array(points, float)
    return points / np.linalg.norm(points, axis=1, keepdims=True), np.array(faces)


BALL = _ball()
BONE = (  # a slim octahedron: along the bone, and sideways in units of its width
    np.array([[0, 0, 0], [0.2, 1, 0], [0.2, 0, 1], [0.2, -1, 0], [0.2, 0, -1], [1, 0, 0]], float),
    np.array([[0, 2, 1], [0, 3, 2], [0, 4, 3], [0, 1, 4], [5, 1, 2], [5, 2, 3], [5, 3, 4]]),
)
BONE = BONE[0], np.concatenate([BONE[1], [[5, 4, 1]]])


def _skeleton_points(joints, ball=0.017, bone=0.013):
    """The skeleton's mesh, (24 x 18 + 23 x 6, 3) metres, for joints (24, 3): balls, then bones."""
    balls = joints[:, None] + ball * BALL[0]  # (24, 18, 3)
    begin, end = joints[np.array(BONES)].transpose(1, 0, 2)  # (23, 3) twice
    along = end - begin
    side = np.cross(along, np.roll(along, 1, axis=1) * [1, -1, 1])
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    third = np.cross(along, side)
    third /= np.linalg.norm(third, axis=1, keepdims=True) + 1e-9
    axes = np.stack([along, bone * side, bone * third], axis=1)  # (23, 3, 3)
    bones = begin[:, None] + BONE[0] @ axes  # (23, 6, 3)
    return np.concatenate([balls.reshape(-1, 3), bones.reshape(-1, 3)])


def _skeleton_mesh():
    """Balls and bones as one pythreejs mesh, drawn over the body."""
    joints = len(JOINT_NAMES)
    pieces = [BALL] * joints + [BONE] * len(BONES)
    owners = [*range(joints), *(child for _, child in BONES)]
    starts = np.cumsum([0, *(len(points) for points, _ in pieces)])
    faces = np.concatenate([f + s for (_, f), s in zip(pieces, starts[:-1], strict=True)])
    colors = []
    for owner, (points, _) in zip(owners, pieces, strict=True):
        color = matplotlib.colors.to_rgb(live.bone_color(JOINT_NAMES[owner]))
        colors.append(np.outer(0.85 + 0.15 * np.sign(points[:, 1] + 1e-6), color))
    geometry = three.BufferGeometry(
        attributes={
            "position": three.BufferAttribute(np.zeros((starts[-1], 3), np.float32)),
            "color": three.BufferAttribute(np.concatenate(colors).astype(np.float32)),
            "index": three.BufferAttribute(faces.ravel().astype(np.uint32), False),
        }
    )
    material = three.MeshBasicMaterial(
        vertexColors="VertexColors", depthTest=False, transparent=True, side="DoubleSide"
    )
    return three.Mesh(geometry, material, visible=False, renderOrder=1)
