"""Small mathematics of surfaces."""

import numpy as np

from hmrlib.body.surface import smoothstep, vertex_normals


def test_smoothstep_is_level_where_it_begins_and_ends():
    t = np.array([-1.0, 0.0, 0.25, 0.5, 0.75, 1.0, 7.0])
    np.testing.assert_allclose(smoothstep(t), [0, 0, 0.15625, 0.5, 0.84375, 1, 1])
    step = 1e-4
    assert smoothstep(step) < 4 * step**2 and 1 - smoothstep(1 - step) < 4 * step**2


def test_normals_are_means_by_area_and_a_lonely_vertex_has_one_too():
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 3], [9.0, 9, 9]])
    faces = np.array([[0, 1, 2], [0, 2, 3]])  # areas 1/2 along z, 3/2 along x
    normals = vertex_normals(corners, faces)
    np.testing.assert_allclose(normals[0], np.array([3, 0, 1]) / np.sqrt(10))
    np.testing.assert_allclose(normals[[1, 3, 4]], [[0, 0, 1], [1, 0, 0], [0, 1, 0]])
