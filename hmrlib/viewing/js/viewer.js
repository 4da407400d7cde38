// The kernel-free viewer: a body with its controls, in one element of a page.
//
// Two ways in: Jupyter calls `render` (an anywidget; traits `data`, `betas`, `pose`, `options`),
// and a plain page has <div data-hmr-viewer> and the body in <script data-hmr-body>.

import {
  BufferAttribute, BufferGeometry, CircleGeometry, Color, IcosahedronGeometry, Mesh,
  MeshBasicMaterial, MeshStandardMaterial, OctahedronGeometry, PerspectiveCamera, Raycaster,
  Scene, ShaderMaterial, Vector2, Vector3, WebGLRenderer,
} from "three";
import { OrbitControls } from "three/addons/controls/OrbitControls.js";
import { GLTFExporter } from "three/addons/exporters/GLTFExporter.js";
import { makeBody, smoothNormals, unpack } from "./body.js";
import css from "./viewer.css";

const NO_WEBGL =
  "This browser draws no 3D here: WebGL is off or missing. Turn on hardware acceleration in the " +
  "browser's settings, or open the page in another browser. All else on the page works.";
const KEYS = {
  ArrowRight: 1, ArrowUp: 1, PageUp: 10, ArrowLeft: -1, ArrowDown: -1, PageDown: -10,
};
const DEGREE = Math.PI / 180;
const linear = (c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);

function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes))
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node) node[name] = value;
    else node.setAttribute(name, value);
  node.append(...children);
  return node;
}

const title = (name) => name.replaceAll("_", " ");

/** A body in `host`; `bytes` as live.pack wrote them. Resolves to a handle, also `host.hmr`. */
export async function mount(host, bytes, initial = {}, onChange = () => {}) {
  const say = (text) => {
    status.textContent = text;
    status.hidden = !text;
  };
  const status = element("p", { className: "hmr-status", role: "status", hidden: true });
  // JupyterLab's shortcuts stay out of the controls
  const root = element("div", { className: "hmr", "data-lm-suppress-shortcuts": "true" });
  const stage = element("div", { className: "hmr-stage" });
  const panel = element("div", { className: "hmr-panel" });
  root.append(element("style", {}, css), element("div", { className: "hmr-both" }, stage, panel));
  root.append(status);
  host.replaceChildren(root);

  const data = await unpack(bytes);
  const body = makeBody(data);
  const { names, limits } = data;
  const state = {
    betas: new Array(data.num_betas).fill(0), pose: [...data.poses.standing],
    skinning: "lbs", correctives: true, mesh: false, skeleton: false, ground: true,
    turn: false, color: "clay", joint: names.indexOf("left_elbow"),
  };
  const start = { betas: [...state.betas], pose: [...state.pose] };
  const past = [];

  // --- the scene ---
  let renderer;
  try {
    renderer = new WebGLRenderer({ antialias: true, alpha: true });
  } catch {
    stage.append(element("p", { className: "hmr-sorry" }, NO_WEBGL));
  }
  const vertices = new Float32Array(3 * body.V), normals = new Float32Array(3 * body.V);
  const albedo = new Float32Array(3 * body.V), other = new Float32Array(3 * body.V);
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(vertices, 3));
  geometry.setAttribute("normal", new BufferAttribute(normals, 3));
  geometry.setAttribute("albedo", new BufferAttribute(albedo, 3));
  geometry.setIndex(new BufferAttribute(data.faces, 1));
  const [vertexShader, fragmentShader] = data.shaders;
  const skin = new ShaderMaterial({
    vertexShader, fragmentShader,
    polygonOffset: true, polygonOffsetFactor: 1, polygonOffsetUnits: 1,
  });
  const figure = new Mesh(geometry, skin);
  const edges = new Mesh(geometry, new MeshBasicMaterial({
    color: data.edges, wireframe: true, transparent: true, opacity: 0.35,
  }));
  const floor = new Mesh(
    new CircleGeometry(data.floor.radius, 96), new MeshBasicMaterial({ color: data.floor.color }));
  floor.rotation.x = -Math.PI / 2;
  floor.position.y = -0.003;
  const shadow = new Mesh(geometry, new MeshBasicMaterial({ color: data.shadow.color }));
  shadow.matrixAutoUpdate = false;
  const bones = skeletonMesh(data);
  for (const mesh of [figure, edges, shadow, bones.mesh]) mesh.frustumCulled = false;
  const scene = new Scene();
  scene.add(floor, shadow, figure, edges, bones.mesh);
  const camera = new PerspectiveCamera(data.view.fov, 1, 0.05, 100);
  let orbit;

  // --- from state to picture ---
  let pending = 0, posed = null;
  const timing = { script: 0, frames: 0 };
  function redraw() { // many events, one frame
    if (!pending) pending = requestAnimationFrame(draw);
  }
  function draw() {
    pending = 0;
    if (state.turn && orbit) {
      orbit.update();
      redraw();
    }
    if (!posed) update();
    if (renderer) renderer.render(scene, camera);
    timing.frames++;
  }
  function update() {
    const begin = performance.now();
    posed = body.pose(state.betas, state.pose, state, vertices);
    smoothNormals(vertices, data.faces, normals);
    paint();
    let lowest = Infinity;
    for (let i = 1; i < vertices.length; i += 3) lowest = Math.min(lowest, vertices[i]);
    const lift = state.ground ? -lowest : 0;
    for (const mesh of [figure, edges, bones.mesh]) mesh.position.y = lift;
    const [x, z] = data.shadow.slant; // everything onto y = 0, along the light
    shadow.matrix.set(1, x, 0, x * lift, 0, 0.0001, 0, 0, 0, z, 1, z * lift, 0, 0, 0, 1);
    floor.visible = shadow.visible = state.ground;
    edges.visible = state.mesh;
    bones.mesh.visible = state.skeleton;
    if (state.skeleton) bones.place(posed.joints);
    for (const name of ["position", "normal", "albedo"])
      geometry.attributes[name].needsUpdate = true;
    geometry.boundingSphere = null;
    timing.script = performance.now() - begin;
  }

  // --- colours ---
  const legend = element("div", { className: "hmr-legend", hidden: true },
    element("span"), element("i", { style: `background:${gradient(data.ramp)}` }), element("span"));
  stage.append(legend);
  const COLORS = { clay: "clay", clothed: "plain clothes", weights: "weights of the joint",
    correctives: "what correctives do", skinning: "linear against dual quaternions" };
  if (data.reference) COLORS.error = "distance from the reference";
  function paint() {
    const values = valuesToShow();
    legend.hidden = !values;
    let top = 1;
    if (values && state.color !== "weights") {
      top = Math.max(1, Math.ceil(1000 * values.reduce((a, b) => Math.max(a, b), 0)));
    }
    const scale = state.color === "weights" ? 1 : 1000 / top;
    const last = data.ramp.length / 3 - 1;
    for (let v = 0; v < body.V; v++) {
      const shade = 0.45 + 0.55 * (data.occlusion[v] / 255);
      const step = values ? 3 * Math.round(last * Math.min(1, values[v] * scale)) : 0;
      for (let c = 0; c < 3; c++)
        albedo[3 * v + c] = (values ? rampLinear[step + c] : plain(v, c)) * shade;
    }
    const unit = state.color === "weights" ? ["0", "1"] : ["0", `${top} mm`];
    legend.firstChild.textContent = unit[0];
    legend.lastChild.textContent = unit[1];
  }
  const rampLinear = Array.from(data.ramp, (c) => linear(c / 255));
  const clayLinear = data.clay.map(linear);
  const clothedLinear = Array.from(data.clothed, (c) => linear(c / 255));
  const plain = (v, c) => (state.color === "clay" ? clayLinear[c] : clothedLinear[3 * v + c]);
  const values = new Float32Array(body.V);
  function valuesToShow() {
    if (state.color === "clay" || state.color === "clothed") return null;
    if (state.color === "weights") {
      values.fill(0);
      for (let at = 0; at < data.skin_joints.length; at++)
        if (data.skin_joints[at] === state.joint)
          values[Math.floor(at / data.influences)] += data.skin_weights[at];
      return values;
    }
    let reference = data.reference;
    if (state.color !== "error") {
      const change = state.color === "correctives"
        ? { skinning: state.skinning, correctives: !state.correctives }
        : { skinning: state.skinning === "lbs" ? "dqs" : "lbs", correctives: state.correctives };
      reference = body.pose(state.betas, state.pose, change, other).vertices;
    }
    for (let v = 0, i = 0; v < body.V; v++, i += 3)
      values[v] = Math.hypot(vertices[i] - reference[i], vertices[i + 1] - reference[i + 1],
        vertices[i + 2] - reference[i + 2]);
    return values;
  }

  // --- controls ---
  const refreshers = [];
  const refresh = () => refreshers.forEach((one) => one());
  function set(change, { remember = true, silent = false } = {}) {
    if (remember && ("betas" in change || "pose" in change)) {
      past.push({ betas: [...state.betas], pose: [...state.pose] });
      if (past.length > 100) past.shift();
    }
    for (const [name, value] of Object.entries(change)) {
      if (name === "betas") state.betas = start.betas.map((_, i) => value[i] ?? 0);
      else if (name === "pose") state.pose = Array.from(value);
      else state[name] = value;
    }
    posed = null;
    if (orbit) orbit.autoRotate = state.turn;
    refresh();
    redraw();
    if (!silent) onChange(state);
  }

  /** One slider; `band` is the usual range, shown on its track. */
  function slider(label, limit, step, digits, read, write, band) {
    const output = element("output");
    let before = null;
    const input = element("input", {
      type: "range", min: -limit, max: limit, step, "aria-label": label,
      oninput() {
        before ??= { betas: [...state.betas], pose: [...state.pose] };
        write(Number(input.value));
      },
      onchange() { // the drag has ended: one step for undo
        if (before) past.push(before);
        before = null;
      },
      onkeydown(event) { // by ourselves, because JupyterLab prevents the browser's own way
        const steps = KEYS[event.key];
        if (!steps) return;
        event.preventDefault();
        const value = (Math.round(read() / step) + steps) * step;
        write(Math.max(-limit, Math.min(limit, value)), true);
      },
      ondblclick: () => write(0, true),
    });
    const name = element("span", { className: "hmr-name" }, label);
    const row = element("label", { className: "hmr-slider" }, name, input, output);
    refreshers.push(() => {
      const value = read();
      input.value = value;
      output.textContent = value.toFixed(digits);
      const [low, high] = band();
      const percent = (x) => (50 + (50 * x) / limit).toFixed(1);
      input.style.setProperty("--low", `${percent(low)}%`);
      input.style.setProperty("--high", `${percent(high)}%`);
      output.classList.toggle("hmr-far", value < low - 1e-6 || value > high + 1e-6);
      row.title = `usual: ${low} to ${high}; double click: zero`;
    });
    return row;
  }
  const replaced = (array, i, value) => array.map((old, k) => (k === i ? value : old));
  const section = (name, open, ...rows) =>
    element("details", { open }, element("summary", {}, name), ...rows);
  function select(label, options, onchange, groups) {
    const node = element("select", { "aria-label": label, onchange: () => onchange(node.value) });
    const option = ([value, text]) => element("option", { value }, text);
    if (groups)
      for (const [group, members] of groups)
        node.append(element("optgroup", { label: group }, ...members.map(option)));
    else node.append(...options.map(option));
    return [element("label", { className: "hmr-select" }, label, node), node];
  }
  function check(label, name, hint) {
    const input = element("input", {
      type: "checkbox", onchange: () => set({ [name]: input.checked }),
    });
    refreshers.push(() => (input.checked = state[name]));
    return element("label", { className: "hmr-check", title: hint }, input, label);
  }
  const button = (text, onclick, hint) =>
    element("button", { type: "button", title: hint, onclick }, text);

  function preset(label, entries, apply) {
    const options = [["", "choose …"], ...Object.keys(entries).map((name) => [name, title(name)])];
    const [row, node] = select(label, options, (name) => {
      if (name) apply(entries[name]);
      node.value = "";
    });
    return row;
  }
  const gauss = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(6.2832 * Math.random());
  const draws = data.samples.length / (3 * names.length);
  function randomPose() {
    const n = Math.floor(Math.random() * draws) * 3 * names.length;
    set({ pose: data.samples.slice(n, n + 3 * names.length) });
  }
  const betaSliders = start.betas.map((_, i) =>
    slider(`β${sub(i)}`, 4, 0.05, 2, () => state.betas[i],
      (value, remember = false) => set({ betas: replaced(state.betas, i, value) }, { remember }),
      () => [-2, 2]));
  const angleSliders = ["x", "y", "z"].map((axis, c) =>
    slider(axis, 180, 1, 0, () => state.pose[3 * state.joint + c] / DEGREE,
      (value, remember = false) =>
        set({ pose: replaced(state.pose, 3 * state.joint + c, value * DEGREE) }, { remember }),
      () => limits[state.joint][c]));
  const groups = data.groups.map(([group, joints]) => [group, joints.map((j) => [j, title(names[j])])]);
  const [jointRow, jointSelect] = select("joint", null, (j) => set({ joint: Number(j) }), groups);
  refreshers.push(() => (jointSelect.value = state.joint));
  const [skinRow, skinSelect] = select("skinning", [["lbs", "linear blends"],
    ["dqs", "dual quaternions"]], (skinning) => set({ skinning }));
  refreshers.push(() => (skinSelect.value = state.skinning));
  const [colorRow, colorSelect] = select("colour", Object.entries(COLORS), (color) => set({ color }));
  refreshers.push(() => (colorSelect.value = state.color));
  const text = element("textarea", { rows: 3, spellcheck: false, "aria-label": "betas and pose" });
  refreshers.push(() => {
    if (document.activeElement !== text) text.value = asText(state);
  });
  function paste() {
    try {
      set(readText(text.value, names.length, data.num_betas));
      say("");
    } catch (error) {
      say(error.message);
    }
  }
  panel.append(
    element("div", { className: "hmr-row" },
      button("Undo", () => {
        const before = past.pop();
        if (before) set(before, { remember: false });
      }, "take the last change back"),
      button("Reset", () => {
        set(start);
        if (orbit) look(initial.camera ?? data.view);
      }, "back to the beginning"),
      button("Random body", () => set({ betas: start.betas.map(gauss) }), "draw from the population"),
      button("Random pose", randomPose, "draw a pose")),
    preset("body", data.bodies, (betas) => set({ betas })),
    preset("pose", data.poses, (pose) => set({ pose })),
    section("Shape", true, ...betaSliders),
    section("Pose, in degrees", true, jointRow, ...angleSliders,
      element("p", { className: "hmr-hint" }, "Or click the body to choose a joint.")),
    section("Terms and looks", true,
      skinRow, colorRow,
      element("div", { className: "hmr-row" },
        check("correctives", "correctives", "pose blend shapes, which put skinning right"),
        check("skeleton", "skeleton", "joints and bones"),
        check("mesh", "mesh", "the triangles' edges"),
        check("ground", "ground", "stand on the ground"),
        check("turn", "turn", "a turntable"))),
    section("As text, as a file", false, text,
      element("div", { className: "hmr-row" },
        button("Copy", () => {
          text.select();
          navigator.clipboard?.writeText(text.value);
        }, "to the clipboard"),
        button("Apply", paste, "use the text above"),
        button("Save OBJ", () => download("body.obj", objText(vertices, data.faces))),
        button("Save GLB", saveGlb))),
  );
  async function saveGlb() {
    const copy = new BufferGeometry();
    for (const name of ["position", "normal"]) copy.setAttribute(name, geometry.attributes[name]);
    copy.setIndex(geometry.index);
    const material = new MeshStandardMaterial({ color: new Color(...data.clay), roughness: 0.8 });
    const glb = await new GLTFExporter().parseAsync(new Mesh(copy, material), { binary: true });
    download("body.glb", glb);
  }

  // --- camera and mouse ---
  if (renderer) {
    const { domElement: canvas } = renderer;
    stage.append(canvas);
    canvas.addEventListener("webglcontextlost", (event) => {
      event.preventDefault();
      say("The browser took the 3D drawing away (too many at once?). Reload to get it back.");
    });
    camera.position.set(...data.view.eye);
    orbit = new OrbitControls(camera, canvas);
    orbit.target.set(...data.view.target);
    orbit.zoomToCursor = true;
    orbit.autoRotateSpeed = 6;
    orbit.update();
    orbit.addEventListener("change", redraw);
    let down = null;
    canvas.addEventListener("pointerdown", (event) => (down = [event.clientX, event.clientY]));
    canvas.addEventListener("pointerup", (event) => {
      if (down && Math.hypot(event.clientX - down[0], event.clientY - down[1]) < 4) pick(event);
      down = null;
    });
    const resize = () => {
      const { clientWidth: width, clientHeight: height } = stage;
      if (!width || !height) return;
      renderer.setPixelRatio(Math.min(2, window.devicePixelRatio));
      renderer.setSize(width, height, false);
      camera.aspect = width / height;
      camera.updateProjectionMatrix();
      redraw();
    };
    new ResizeObserver(resize).observe(stage);
    resize();
  }
  function pick(event) { // the joint that holds the clicked vertex most
    const box = renderer.domElement.getBoundingClientRect();
    const at = new Vector2(
      (2 * (event.clientX - box.left)) / box.width - 1,
      1 - (2 * (event.clientY - box.top)) / box.height,
    );
    const ray = new Raycaster();
    ray.setFromCamera(at, camera);
    const [hit] = ray.intersectObject(figure);
    if (!hit) return;
    const first = hit.face.a * data.influences;
    let best = first;
    for (let i = first; i < first + data.influences; i++)
      if (data.skin_weights[i] > data.skin_weights[best]) best = i;
    set({ joint: data.skin_joints[best] });
  }
  function look({ eye, target, fov }) {
    camera.position.set(...eye);
    camera.fov = fov;
    camera.updateProjectionMatrix();
    orbit.target.set(...target);
    orbit.update();
    redraw();
  }

  if (initial.camera && orbit) look(initial.camera);
  const { camera: _, ...given } = initial;
  set(given, { remember: false, silent: true });
  Object.assign(start, { betas: [...state.betas], pose: [...state.pose] });
  host.hmr = {
    state, set, look, timing, say,
    get pending() { return pending !== 0; },
    get vertices() {
      if (!posed) update();
      return vertices;
    },
    dispose() {
      cancelAnimationFrame(pending);
      if (renderer) {
        orbit.dispose();
        geometry.dispose();
        renderer.dispose();
        renderer.forceContextLoss();
      }
      host.replaceChildren();
    },
  };
  return host.hmr;
}

/** Joints as balls and bones as slim octahedra, in one mesh that is drawn over the body. */
function skeletonMesh({ parents, bone_colors }) {
  const ball = new IcosahedronGeometry(0.017, 1), bone = new OctahedronGeometry(1);
  const pairs = Array.from(parents).map((parent, child) => [parent, child]).filter(([p]) => p >= 0);
  const pieces = [
    ...pairs.map(([parent, child]) => ({ shape: bone, parent, child })),
    ...Array.from(parents).map((_, child) => ({ shape: ball, child })),
  ];
  const count = pieces.reduce((sum, { shape }) => sum + shape.attributes.position.count, 0);
  const positions = new Float32Array(3 * count), colors = new Float32Array(3 * count);
  let at = 0;
  for (const { shape, child } of pieces) {
    const color = new Color(bone_colors[child]);
    for (let i = 0; i < shape.attributes.position.count; i++, at += 3) {
      const light = 0.8 + 0.2 * Math.sign(shape.attributes.position.getY(i) + 1e-6);
      colors.set([color.r * light, color.g * light, color.b * light], at);
    }
  }
  const geometry = new BufferGeometry();
  geometry.setAttribute("position", new BufferAttribute(positions, 3));
  geometry.setAttribute("color", new BufferAttribute(colors, 3));
  const material = new MeshBasicMaterial({ vertexColors: true, depthTest: false, transparent: true });
  const mesh = new Mesh(geometry, material);
  mesh.renderOrder = 1;
  function place(joints) {
    const point = (j) => new Vector3().fromArray(joints, 3 * j);
    let at = 0;
    for (const { shape, parent, child } of pieces) {
      const { position } = shape.attributes;
      const end = point(child), begin = parent === undefined ? end : point(parent);
      const along = end.clone().sub(begin), length = along.length();
      const side = new Vector3(along.z, 0.3 * length, -along.x).cross(along).normalize();
      const third = side.clone().cross(along).normalize();
      for (let i = 0; i < position.count; i++, at += 3) {
        const p = new Vector3().fromBufferAttribute(position, i);
        if (parent === undefined) p.add(end);
        else {
          const ring = 0.013;
          p.set(0, 0, 0).addScaledVector(begin, 1)
            .addScaledVector(along, position.getY(i) ? (1 + position.getY(i)) / 2 : 0.2)
            .addScaledVector(side, ring * position.getX(i))
            .addScaledVector(third, ring * position.getZ(i));
        }
        p.toArray(positions, at);
      }
    }
    geometry.attributes.position.needsUpdate = true;
  }
  return { mesh, place };
}

const sub = (n) => [...String(n)].map((digit) => "₀₁₂₃₄₅₆₇₈₉"[digit]).join("");

function gradient(ramp) {
  const stops = [];
  for (let i = 0; i < ramp.length; i += 3) stops.push(`rgb(${ramp.slice(i, i + 3).join(" ")})`);
  return `linear-gradient(to right, ${stops.join(",")})`;
}

const rounded = (values) => Array.from(values, (value) => Number(value.toFixed(4)));

function asText({ betas, pose }) {
  return JSON.stringify({ betas: rounded(betas), pose: rounded(pose) });
}

/** {betas, pose} out of pasted text; the same rules as viewer.read_text. */
export function readText(text, joints, most) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error('This is not JSON: expected {"betas": […], "pose": […]}.');
  }
  const { betas = null, pose = null } = Array.isArray(found) ? { pose: found } : found ?? {};
  if (betas === null && pose === null) throw new Error("Found neither betas nor pose.");
  const change = {};
  for (const [name, value, fits, wanted] of [
    ["betas", betas, (n) => n <= most, `at most ${most}`],
    ["pose", pose, (n) => n === 3 * joints, `${3 * joints}`],
  ]) {
    if (value === null) continue;
    const flat = Array.isArray(value) ? value.flat() : [];
    if (!flat.every((x) => typeof x === "number" && Number.isFinite(x)) || !Array.isArray(value))
      throw new Error(`${name}: expected numbers alone.`);
    if (!fits(flat.length))
      throw new Error(`${name}: expected ${wanted} numbers, found ${flat.length}.`);
    change[name] = flat;
  }
  return change;
}

function objText(vertices, faces) {
  const lines = [];
  for (let i = 0; i < vertices.length; i += 3)
    lines.push(`v ${[0, 1, 2].map((c) => vertices[i + c].toFixed(6)).join(" ")}`);
  for (let i = 0; i < faces.length; i += 3)
    lines.push(`f ${faces[i] + 1} ${faces[i + 1] + 1} ${faces[i + 2] + 1}`);
  return lines.join("\n") + "\n";
}

function download(name, content) {
  const url = URL.createObjectURL(new Blob([content]));
  element("a", { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}

// --- Jupyter ---

function render({ model, el }) {
  const bytes = () => {
    const data = model.get("data");
    return data instanceof DataView
      ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength) : data;
  };
  const initial = {
    ...model.get("options"), betas: model.get("betas"), pose: model.get("pose"),
  };
  let queued = false;
  const tell = ({ betas, pose }) => {
    model.set("betas", [...betas]);
    model.set("pose", [...pose]);
    if (queued) return; // at most one message a frame
    queued = true;
    requestAnimationFrame(() => {
      queued = false;
      model.save_changes();
    });
  };
  const ready = mount(el, bytes(), initial, tell);
  const listen = (name) => () =>
    ready.then((viewer) => {
      const value = model.get(name);
      const same = (a, b) => a.length === b.length && a.every((x, i) => x === b[i]);
      if (name === "options") viewer.set(value, { silent: true });
      else if (!same(value, viewer.state[name])) viewer.set({ [name]: value }, { silent: true });
    });
  for (const name of ["betas", "pose", "options"]) model.on(`change:${name}`, listen(name));
  return () => ready.then((viewer) => viewer.dispose());
}

export default { render };

// --- a plain page ---

for (const host of document.querySelectorAll("[data-hmr-viewer]")) {
  const base64 = document.querySelector("script[data-hmr-body]").textContent;
  const bytes = Uint8Array.from(atob(base64.trim()), (character) => character.charCodeAt(0));
  mount(host, bytes, JSON.parse(host.dataset.hmrViewer || "{}"));
}
