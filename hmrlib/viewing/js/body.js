// The body function in the browser: hmrlib/body/model.py once more, for one body at a time.
// Points are interleaved, x y z x y z ..., as WebGL wants them; metres, y up, facing +z.

const READERS = {
  float32: (buffer, at, n) => new Float32Array(buffer, at, n),
  float16: (buffer, at, n) => fromHalf(new Uint16Array(buffer, at, n)),
  uint32: (buffer, at, n) => new Uint32Array(buffer, at, n),
  uint16: (buffer, at, n) => new Uint16Array(buffer, at, n),
  uint8: (buffer, at, n) => new Uint8Array(buffer, at, n),
  int8: (buffer, at, n) => new Int8Array(buffer, at, n),
};

/** What `hmrlib.viewing.live.pack` wrote, as {name: typed array} and its header's facts. */
export async function unpack(bytes) {
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const buffer = await new Response(stream).arrayBuffer();
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const arrays = {};
  for (const { name, dtype, size, offset } of header.arrays)
    arrays[name] = READERS[dtype](buffer, offset, size);
  return { ...header, ...arrays };
}

function fromHalf(half) {
  const out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i++) {
    const h = half[i], exponent = (h >> 10) & 31, fraction = h & 1023;
    const size = exponent ? 2 ** (exponent - 15) * (1 + fraction / 1024) : fraction * 2 ** -24;
    out[i] = h & 0x8000 ? -size : size;
  }
  return out;
}

/** exp(w), row by row (SMPL, eq. 1), as geometry.axis_angle_to_matrix. */
function rodrigues(x, y, z, out, at) {
  const squared = x * x + y * y + z * z;
  const angle = Math.sqrt(squared);
  const a = squared < 1e-8 ? 1 - squared / 6 : Math.sin(angle) / angle;
  const b = squared < 1e-8 ? 0.5 - squared / 24 : 2 * (Math.sin(angle / 2) / angle) ** 2;
  out[at] = 1 - b * (y * y + z * z);
  out[at + 1] = b * x * y - a * z;
  out[at + 2] = b * x * z + a * y;
  out[at + 3] = b * x * y + a * z;
  out[at + 4] = 1 - b * (x * x + z * z);
  out[at + 5] = b * y * z - a * x;
  out[at + 6] = b * x * z - a * y;
  out[at + 7] = b * y * z + a * x;
  out[at + 8] = 1 - b * (x * x + y * y);
}

/** Rotation matrix (row by row, at `m`) -> unit quaternion w x y z; Shepperd's choice. */
function quaternion(r, m) {
  const [a, b, c, d, e, f, g, h, i] = r.subarray(m, m + 9);
  const squares = [1 + a + e + i, 1 + a - e - i, 1 - a + e - i, 1 - a - e + i];
  const rows = [
    [squares[0], h - f, c - g, d - b],
    [h - f, squares[1], b + d, c + g],
    [c - g, b + d, squares[2], f + h],
    [d - b, c + g, f + h, squares[3]],
  ];
  const row = rows[squares.indexOf(Math.max(...squares))];
  const length = Math.hypot(...row);
  return row.map((value) => value / length);
}

/**
 * The body that `unpack` read, ready to be posed.
 *
 * pose(betas, theta, {skinning, correctives}, out) writes the vertices into `out` (3 V) and
 * returns {vertices, joints}; theta is axis-angle, 72 numbers, radians.
 */
export function makeBody(data) {
  const { template, shapedirs, parents, influences } = data;
  const { skin_joints, skin_weights, pose_counts, pose_vertices, pose_values } = data;
  const size = template.length, K = parents.length, V = size / 3;
  const rest = new Float32Array(size);
  const rotations = new Float32Array(9 * K), world = new Float32Array(9 * K);
  const restJoints = new Float32Array(3 * K), motion = new Float32Array(12 * K);
  const dual = new Float32Array(8 * K);

  function atRest(betas, correctives) { // T + B_S + B_P, eq. 6, 8, 9
    rest.set(template);
    restJoints.set(data.J_template);
    for (let s = 0; s < data.num_betas; s++) {
      const beta = betas[s] || 0;
      if (!beta) continue;
      for (let i = 0, at = s * size; i < size; i++) rest[i] += beta * shapedirs[at + i];
      for (let i = 0, at = 3 * s * K; i < 3 * K; i++)
        restJoints[i] += beta * data.J_shapedirs[at + i]; // eq. 10
    }
    if (!correctives) return;
    const f = new Float64Array(9);
    for (let joint = 1, p = 0; joint < K; joint++) {
      const end = p + pose_counts[joint - 1];
      let turned = 0;
      for (let k = 0; k < 9; k++) {
        f[k] = rotations[9 * joint + k] - (k % 4 === 0 ? 1 : 0);
        turned += Math.abs(f[k]);
      }
      if (turned < 1e-9) {
        p = end;
        continue;
      }
      for (; p < end; p++) {
        let x = 0, y = 0, z = 0;
        for (let k = 0, at = 27 * p; k < 9; k++, at += 3) {
          x += f[k] * pose_values[at];
          y += f[k] * pose_values[at + 1];
          z += f[k] * pose_values[at + 2];
        }
        const v = 3 * pose_vertices[p];
        rest[v] += x;
        rest[v + 1] += y;
        rest[v + 2] += z;
      }
    }
  }

  function moveJoints() { // eq. 4 and 3: motion is (R | t) a joint, from rest to the world
    const joints = new Float32Array(3 * K);
    for (let j = 0; j < K; j++) {
      const parent = parents[j], w = 9 * j, q = 9 * parent;
      if (parent < 0) {
        world.set(rotations.subarray(w, w + 9), w);
        joints.set(restJoints.subarray(3 * j, 3 * j + 3), 3 * j);
      } else {
        for (let r = 0; r < 3; r++) {
          let position = joints[3 * parent + r];
          for (let c = 0; c < 3; c++) {
            let sum = 0;
            for (let k = 0; k < 3; k++) sum += world[q + 3 * r + k] * rotations[w + 3 * k + c];
            world[w + 3 * r + c] = sum;
            const bone = restJoints[3 * j + c] - restJoints[3 * parent + c];
            position += world[q + 3 * r + c] * bone;
          }
          joints[3 * j + r] = position;
        }
      }
      for (let r = 0; r < 3; r++) {
        let shift = joints[3 * j + r];
        for (let c = 0; c < 3; c++) {
          motion[12 * j + 4 * r + c] = world[w + 3 * r + c];
          shift -= world[w + 3 * r + c] * restJoints[3 * j + c];
        }
        motion[12 * j + 4 * r + 3] = shift;
      }
    }
    return joints;
  }

  function linear(out) { // eq. 7
    const m = new Float64Array(12);
    for (let v = 0, at = 0; v < V; v++) {
      m.fill(0);
      for (let n = 0; n < influences; n++, at++) {
        const weight = skin_weights[at];
        if (!weight) continue;
        const j = 12 * skin_joints[at];
        for (let k = 0; k < 12; k++) m[k] += weight * motion[j + k];
      }
      const x = rest[3 * v], y = rest[3 * v + 1], z = rest[3 * v + 2];
      out[3 * v] = m[0] * x + m[1] * y + m[2] * z + m[3];
      out[3 * v + 1] = m[4] * x + m[5] * y + m[6] * z + m[7];
      out[3 * v + 2] = m[8] * x + m[9] * y + m[10] * z + m[11];
    }
  }

  function dualQuaternions(out) { // Kavan et al. 2008, as skinning.dual_quaternion_skinning
    for (let j = 0; j < K; j++) {
      let [w, x, y, z] = quaternion(world, 9 * j);
      const p = 8 * parents[j];
      if (p >= 0 && w * dual[p] + x * dual[p + 1] + y * dual[p + 2] + z * dual[p + 3] < 0)
        [w, x, y, z] = [-w, -x, -y, -z];
      const a = motion[12 * j + 3], b = motion[12 * j + 7], c = motion[12 * j + 11];
      dual.set([w, x, y, z], 8 * j);
      dual.set(
        [-a * x - b * y - c * z, a * w + b * z - c * y, b * w + c * x - a * z, c * w + a * y - b * x]
          .map((value) => value / 2),
        8 * j + 4,
      );
    }
    const d = new Float64Array(8);
    for (let v = 0, at = 0; v < V; v++) {
      d.fill(0);
      for (let n = 0; n < influences; n++, at++) {
        const weight = skin_weights[at];
        if (!weight) continue;
        const j = 8 * skin_joints[at];
        for (let k = 0; k < 8; k++) d[k] += weight * dual[j + k];
      }
      const scale = 1 / Math.sqrt(d[0] * d[0] + d[1] * d[1] + d[2] * d[2] + d[3] * d[3]);
      const w = d[0] * scale, a = d[1] * scale, b = d[2] * scale, c = d[3] * scale;
      const p = d[4] * scale, e = d[5] * scale, f = d[6] * scale, g = d[7] * scale;
      const x = rest[3 * v], y = rest[3 * v + 1], z = rest[3 * v + 2];
      const tx = b * z - c * y + w * x, ty = c * x - a * z + w * y, tz = a * y - b * x + w * z;
      out[3 * v] = x + 2 * (b * tz - c * ty + w * e - p * a + b * g - c * f);
      out[3 * v + 1] = y + 2 * (c * tx - a * tz + w * f - p * b + c * e - a * g);
      out[3 * v + 2] = z + 2 * (a * ty - b * tx + w * g - p * c + a * f - b * e);
    }
  }

  function pose(betas, theta, { skinning = "lbs", correctives = true } = {}, out) {
    const vertices = out || new Float32Array(size);
    for (let j = 0; j < K; j++)
      rodrigues(theta[3 * j], theta[3 * j + 1], theta[3 * j + 2], rotations, 9 * j);
    atRest(betas, correctives);
    const joints = moveJoints();
    (skinning === "dqs" ? dualQuaternions : linear)(vertices);
    return { vertices, joints };
  }
  return { pose, V, K };
}

/** Smooth normals, weighted by the area of the faces around a vertex, into `out` (3 V). */
export function smoothNormals(p, faces, out) {
  out.fill(0);
  for (let f = 0; f < faces.length; f += 3) {
    const a = 3 * faces[f], b = 3 * faces[f + 1], c = 3 * faces[f + 2];
    const ux = p[b] - p[a], uy = p[b + 1] - p[a + 1], uz = p[b + 2] - p[a + 2];
    const vx = p[c] - p[a], vy = p[c + 1] - p[a + 1], vz = p[c + 2] - p[a + 2];
    const x = uy * vz - uz * vy, y = uz * vx - ux * vz, z = ux * vy - uy * vx;
    out[a] += x; out[a + 1] += y; out[a + 2] += z;
    out[b] += x; out[b + 1] += y; out[b + 2] += z;
    out[c] += x; out[c + 1] += y; out[c + 2] += z;
  }
  for (let i = 0; i < out.length; i += 3) {
    const length = Math.sqrt(out[i] ** 2 + out[i + 1] ** 2 + out[i + 2] ** 2) || 1;
    out[i] /= length; out[i + 1] /= length; out[i + 2] /= length;
  }
}
