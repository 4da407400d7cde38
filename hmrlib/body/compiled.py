"""How the body is made fast: nothing here changes what `model` computes.

- Vertices are computed in parts that few joints and pose features move, so that little is
  multiplied that is zero (`similar_vertices`, `tensors_of`).
- Blends are summed joint by joint, which XLA fuses with what follows; both this and the way back
  to the body's order of vertices get a gradient that XLA would not find (`fused_product`,
  `back_in_place`).
- Long motions are computed some frames at a time (`in_chunks`).
- `Compiler` compiles, when asked or by itself for shapes that come again.
"""

import threading
from functools import cached_property, partial

import keras
import numpy as np
from keras import ops

from hmrlib.body.skinning import product

PARTS = 12  # of the compiled body, each with its own joints and pose features
CHUNK = 256  # bodies of one computation, which takes about 1 MB a body
SHAPES = 8  # of inputs, whose compiled functions a body keeps
# Calls with inputs of one shape before it is compiled. Compiling takes seconds; JAX takes as many
# to run the operations one by one for the first time, PyTorch has nothing to gain.
CALLS = {"tensorflow": 1, "jax": 0}


class Compiler:
    """Compiles the function of one body, for all that ask or for each shape of inputs.

    `function` takes tensors as of `tensors_of`, betas, pose and translation, and by name what
    `options` say, `blend` and `join`; see `model.posed_body`.
    """

    def __init__(self, body, function):
        self._body, self._function = body, function
        self._shapes = {}  # options, shapes -> calls, or the compiled function; the last used last
        self._lock = threading.Lock()

    @cached_property
    def _parts(self):
        """The order of the vertices in the parts, and the tensors of all parts."""
        body = self._body
        features = (body.posedirs != 0).any(axis=1)
        parts = similar_vertices(body.weights != 0, features, PARTS)
        return np.concatenate(parts), tensors_of(body, parts)

    def compile(self, **options):
        """Function (betas, pose, translation) of checked inputs, compiled for each batch size."""
        backend = keras.backend.backend()
        if backend not in CALLS:
            return None
        order, tensors = self._parts
        join = partial(back_in_place, order=order)
        fused = partial(self._function, **options, blend=fused_product, join=join)
        if backend == "tensorflow":
            import tensorflow as tf

            # captured (a partial would pass them): as arguments they cost a millisecond a call
            return tf.function(
                lambda *inputs: fused(tensors, *inputs), jit_compile=True, autograph=False
            )
        import jax

        # here what is captured would be copied into the program
        return partial(jax.jit(fused), tensors)

    def by_shape(self, inputs, **options):
        """The function compiled for inputs of this shape, or None where it is not worth it (yet).

        Nor is it where gradients may be asked for: of tensors that are traced or recorded.
        """
        calls = CALLS.get(keras.backend.backend())
        if calls is None or not _are_values(inputs):
            return None
        sizes = ((min(len(value), CHUNK), *value.shape[1:]) for value in inputs)
        key = (*options.values(), *sizes)
        with self._lock:
            known = self._shapes.pop(key, 0)
            if known == calls:
                known = self.compile(**options)
            self._shapes[key] = known + 1 if isinstance(known, int) else known
            if len(self._shapes) > SHAPES:
                del self._shapes[next(iter(self._shapes))]
        return None if isinstance(known, int) else known


def _are_values(inputs):
    """Whether these are numbers that no graph, trace or tape waits for."""
    if keras.backend.backend() == "jax":
        import jax

        return not any(isinstance(value, jax.core.Tracer) for value in inputs)
    import tensorflow as tf

    return tf.executing_eagerly() and all(isinstance(value, np.ndarray) for value in inputs)


def similar_vertices(joints, features, count):
    """Parts of the body whose vertices move with few joints and by few pose features.

    At first vertices are together that have the same; then the two parts are merged whose
    union makes the least more work, until `count` are left. A file where every joint moves
    every vertex stays in one part.

    Args:
        joints: (V, 24), features: (V, 207), booleans: what moves each vertex.

    Returns:
        at most `count` arrays of vertex indices, each vertex in one of them.
    """
    costs = np.repeat([12.0, 3.0], [joints.shape[1], features.shape[1]])  # products a vertex
    distinct, group = np.unique(joints, axis=0, return_inverse=True)
    group = group.reshape(-1)
    moved = np.concatenate([joints, features], axis=1)
    sets = np.array([moved[group == part].any(axis=0) for part in range(len(distinct))], float)
    sizes = np.bincount(group)
    while len(sets) > count:
        own = sets @ costs
        union = own[:, None] + own - (sets * costs) @ sets.T
        more = union * (sizes[:, None] + sizes) - (own * sizes)[:, None] - own * sizes
        np.fill_diagonal(more, np.inf)
        a, b = sorted(np.unravel_index(more.argmin(), more.shape))
        sets[a], sizes[a] = np.maximum(sets[a], sets[b]), sizes[a] + sizes[b]
        group[group == b] = a
        group[group > b] -= 1
        sets, sizes = np.delete(sets, b, axis=0), np.delete(sizes, b)
    return [np.flatnonzero(group == part) for part in range(len(sets))]


def tensors_of(body, parts):
    """A body's arrays as the backend's tensors, for some of its vertices.

    Each part has only the joints and pose features that move it: those whose weights or
    directions are not all zero. Inside, directions are planes (all x, all y, all z) in a
    row, so that the products are plain matrices.

    Args:
        parts: arrays of vertex indices.
    """
    S = body.num_betas
    arrays = []
    for rows in parts:
        joints = np.flatnonzero(body.weights[rows].any(axis=0))
        features = np.flatnonzero(body.posedirs[rows].any(axis=(0, 1)))
        posedirs = body.posedirs[rows][..., features]
        size = 3 * len(rows)
        part = {
            "template": body.v_template[rows].T.reshape(size),  # (3 V,)
            "shapedirs": body.shapedirs[rows].T.reshape(S, size),  # (S, 3 V)
            "posedirs": posedirs.T.reshape(len(features), size),  # (<= 207, 3 V)
            "weights": body.weights[rows][:, joints].T,  # (<= 24, V)
        }
        indices = {"joints": joints, "features": features}
        arrays.append(_tensors(part, "float32") | _tensors(indices, "int32"))
    regressor = body.J_regressor
    shapes = [regressor @ body.shapedirs[..., s] for s in range(S)]
    joints = {
        "J_template": regressor @ body.v_template,  # (24, 3)
        "J_shapedirs": np.stack(shapes),  # (S, 24, 3)
    }
    return _tensors(joints, "float32") | {"parts": arrays}


def _tensors(arrays, dtype):
    return {
        name: ops.convert_to_tensor(np.ascontiguousarray(array), dtype=dtype)
        for name, array in arrays.items()
    }


def fused_product(motions, weights):
    """The same joint by joint, for XLA: it fuses the sum into what comes after.

    The blends, four times as many numbers as the vertices, then never go through memory. The
    gradient is that of the matrix product; XLA's own, of the sum, would be many times slower.
    """

    @ops.custom_gradient
    def joint_by_joint(motions, weights):
        def gradient(upstream):
            by_motions = ops.tensordot(upstream, ops.transpose(weights), axes=1)
            return by_motions, ops.tensordot(motions, upstream, axes=[[0, 1], [0, 1]])

        terms = (motions[..., k, None] * weights[k] for k in range(weights.shape[0]))
        return sum(terms), gradient

    # beyond this many joints the sum costs more than the memory it saves
    few = weights.shape[0] <= 16
    return joint_by_joint(motions, weights) if few else product(motions, weights)


def side_by_side(parts):
    """Vertices of parts, (B, 3, v) each -> (B, 3, V)."""
    return ops.concatenate(parts, axis=2)


def back_in_place(parts, order):
    """Vertices of parts, in this order of their indices -> (B, 3, V) in the body's order.

    The gradient only goes the way back; XLA's own would add number to number, and take longer
    than all the rest.
    """

    @ops.custom_gradient
    def put(vertices):
        def gradient(upstream):
            return ops.take(upstream, order, axis=2)

        return ops.take(vertices, np.argsort(order), axis=2), gradient

    return put(side_by_side(parts))


def in_chunks(forward, inputs, of_one_size=False):
    """`forward(*inputs)`, arrays of many bodies some at a time; equal but for the last bits.

    Args:
        forward: from betas, pose, translation, each of B or 1 bodies, to `BodyOutput`.
        of_one_size: fill the last part up, so that nothing is compiled for its size.
    """
    are_arrays = all(isinstance(value, np.ndarray) for value in inputs)
    count = max(map(len, inputs)) if are_arrays else 0
    if count <= CHUNK:
        return forward(*inputs)
    parts = []
    for start in range(0, count, CHUNK):
        rows = np.arange(start, min(start + CHUNK, count))
        if of_one_size:
            rows = np.pad(rows, (0, CHUNK - len(rows)), mode="edge")
        out = forward(*(value if len(value) == 1 else value[rows] for value in inputs))
        parts.append([value[: count - start] for value in out])
    return type(out)(*(ops.concatenate(values, axis=0) for values in zip(*parts, strict=True)))


def one_batch(*inputs):
    """Arrays or tensors, each of B or 1 bodies -> tensors of B bodies."""
    inputs = [ops.convert_to_tensor(value) for value in inputs]
    sizes = [ops.shape(value)[0] for value in inputs if value.shape[0] != 1]
    if sizes:
        inputs = [ops.repeat(v, sizes[0], axis=0) if v.shape[0] == 1 else v for v in inputs]
    return inputs
