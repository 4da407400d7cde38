"""Small mathematics of surfaces, and of the face on one, in NumPy, where no gradient is needed."""

import numpy as np


def smoothstep(t):
    """From 0 at t <= 0 to 1 at t >= 1, level at both ends: 3 t^2 - 2 t^3."""
    t = np.clip(t, 0, 1)
    return t * t * (3 - 2 * t)


def vertex_normals(vertices, faces):
    """(V, 3) unit normals: the mean of the faces around a vertex, weighted by their area.

    A vertex without faces has none, and gets (0, 1, 0).
    """
    corners = vertices[faces]  # (F, 3, 3)
    face_normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(vertices)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], face_normals)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    up = np.array([0.0, 1.0, 0.0])
    return np.where(lengths > 0, normals / np.where(lengths > 0, lengths, 1), up)


def head_frame(vertices, is_head):
    """Vertices (V, 3) seen from the middle of the head, in heads' heights; and that height.

    Args:
        is_head: (V,) bool; where none is, all are.
    """
    skull = vertices[is_head] if is_head.any() else vertices
    face = np.ptp(skull[:, 1])
    center = np.array([0.0, skull[:, 1].min() + 0.55 * face, (skull.min(0) + skull.max(0))[2] / 2])
    return (vertices - center) / face, face


def face_masks(head, eyes, nose):
    """Where the face's parts are, told from eyes and nose; all lengths in heads' heights.

    Args:
        head: (V, 3) of `head_frame`, y up, facing +z; eyes: (2, 3) and nose: (3,), in it.

    Returns:
        dict name -> (V,), 0 to about 1: front (the head's side that faces +z), lips, brows, white
        and iris of the eyes.
    """
    x, y, z = head.T
    front = smoothstep((z - 0.15) / 0.1)
    masks = {"front": front}
    mouth = ((x / 0.125) ** 2 + ((y - nose[1] + 0.165) / 0.042) ** 2) ** 0.5
    masks["lips"] = front * smoothstep((1.1 - mouth) / 0.35)
    brows, white, iris = 0.0, 0.0, 0.0
    for eye in eyes:
        dx, dy = x - eye[0], y - eye[1]
        arch = 0.095 - 1.2 * (dx - np.sign(eye[0]) * 0.02) ** 2
        brows = brows + np.exp(-((dx / 0.095) ** 6) - ((dy - arch) / 0.022) ** 2)
        white = white + smoothstep(1.4 - ((dx / 0.055) ** 2 + (dy / 0.020) ** 2))
        iris = iris + smoothstep(1.6 - ((dx / 0.026) ** 2 + (dy / 0.024) ** 2))
    masks["brows"], masks["white"], masks["iris"] = front * brows, front * white, front * iris
    return masks
