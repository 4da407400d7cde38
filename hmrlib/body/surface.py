"""Small mathematics of surfaces, in NumPy, where no gradient is needed."""

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
