"""Learning the body: from MakeHuman's base mesh to the 6,890 vertices of the model."""

import numpy as np
import pytest
import trimesh

from hmrlib.learn import makehuman, mesh

pytestmark = pytest.mark.slow

BODIES = [
    f"universal-{sex}-{age}-{muscle}muscle-{weight}weight"
    for sex, age, muscle, weight in [
        ("female", "young", "average", "average"),
        ("male", "young", "max", "average"),
        ("female", "old", "average", "max"),
        ("male", "old", "min", "min"),
    ]
]


@pytest.fixture(scope="module")
def bodies(assets):
    """(4, 19158, 3) women and men, young and old, thin and heavy."""
    names = [
        f"macrodetails/caucasian-{'-'.join(name.split('-')[1:3])}|macrodetails/{name}"
        for name in BODIES
    ]
    targets = makehuman.target_matrix(assets.path, names, assets.mirror)
    bodies = assets.vertices + targets.toarray().reshape(len(names), -1, 3)
    return (bodies + makehuman.reflect(bodies[:, assets.mirror])) / 2  # to the last bit


@pytest.fixture(scope="module")
def steps(assets, bodies):
    return dict(mesh.build_half(bodies, assets.quads, assets.groups, assets.mirror))


@pytest.fixture(scope="module")
def built(assets, steps):
    return mesh.reflect_half(steps["decimated"], assets.mirror)


def test_counts_and_topology(built, bodies):
    assert built.select.shape == (mesh.NUM_VERTICES, 19158)
    assert built.faces.shape == (mesh.NUM_FACES, 3)
    surface = trimesh.Trimesh(built.select @ bodies[0], built.faces, process=False)
    assert surface.is_watertight  # each edge has two faces
    assert surface.is_winding_consistent
    assert surface.euler_number == 2  # genus 0, if in one piece
    assert len(surface.split(only_watertight=False)) == 1
    assert surface.volume > 0  # the outside is outside
    assert np.bincount(built.faces.ravel()).max() <= mesh.MAX_VALENCE


def test_exactly_symmetric(built, bodies):
    twin = built.mirror
    np.testing.assert_array_equal(twin[twin], np.arange(mesh.NUM_VERTICES))
    for body in bodies:
        vertices = built.select @ body
        np.testing.assert_array_equal(makehuman.reflect(vertices[twin]), vertices)
    faces = {tuple(np.roll(f, -f.argmin())) for f in built.faces}
    assert faces == {tuple(np.roll(f, -f.argmin())) for f in twin[built.faces][:, ::-1]}


def test_vertices_are_means_of_base_vertices(built, assets):
    np.testing.assert_allclose(built.select.sum(axis=1), 1, atol=1e-12)
    entries = np.diff(built.select.indptr)
    assert (entries == 1).mean() > 0.8  # nearly all are base vertices themselves
    used = np.unique(built.select.indices)
    eyeballs = np.concatenate([assets.groups["helper-l-eye"], assets.groups["helper-r-eye"]])
    assert np.all((used < makehuman.BODY_VERTICES) | np.isin(used, eyeballs))
    assert np.isin(eyeballs, used).any()  # the eyes look out


def test_head_and_hands_do_not_cut_themselves(built, assets, bodies):
    for body in bodies:
        vertices = built.select @ body
        chin = body[assets.groups["joint-head"]].mean(axis=0)[1]
        wrist = body[assets.groups["joint-l-hand"]].mean(axis=0)[0]
        region = (vertices[:, 1] > chin) | (np.abs(vertices[:, 0]) > wrist)
        faces = built.faces[region[built.faces].all(axis=1)]
        assert len(faces) > 4000
        assert len(mesh.self_intersections(vertices, faces)) == 0


def test_stays_on_the_surface(built, assets, bodies, steps):
    reference = mesh.reflect_half(steps["capped"], assets.mirror)
    for body in bodies:
        distance = mesh.distance_to_surface(
            reference.select @ body, built.select @ body, built.faces
        )
        assert distance.mean() < 0.4e-3
        assert distance.max() < 6e-3


def test_triangles_are_even(built, assets, bodies):
    vertices = built.select @ bodies.mean(axis=0)
    quality = mesh.triangle_quality(vertices, built.faces)
    assert np.median(quality) > 0.83
    assert np.quantile(quality, 0.01) > 0.3
    corners = vertices[built.faces]
    sides = np.linalg.norm(corners - np.roll(corners, 1, axis=1), axis=2)
    knee = bodies.mean(axis=0)[assets.groups["joint-l-knee"]].mean(axis=0)[1]
    calves = corners[:, :, 1].max(axis=1) < knee
    assert sides[calves].max() < 0.040  # MakeHuman's own reach 60 mm
    assert sides.max() < 0.050  # diagonals of quads on the trunk


def test_two_builds_are_equal(built, assets, bodies):
    again = mesh.build_mesh(bodies, assets.quads, assets.groups, assets.mirror)
    np.testing.assert_array_equal(again.faces, built.faces)
    assert abs(again.select - built.select).max() == 0


def test_last_bits_choose_nothing(built, assets, bodies):
    """As from another processor: sums in another order, thousands of last bits away."""
    noise = 1e-12 * np.random.default_rng(0).standard_normal(bodies.shape)
    noisy = bodies + (noise + makehuman.reflect(noise[:, assets.mirror])) / 2
    again = mesh.build_mesh(noisy, assets.quads, assets.groups, assets.mirror)
    np.testing.assert_array_equal(again.faces, built.faces)
    assert abs(again.select - built.select).max() < 1e-6


def test_faces_have_one_order_whatever_made_them(built):
    half = built.faces[: mesh.NUM_FACES // 2]
    rng = np.random.default_rng(0)
    turned = [np.roll(face, rng.integers(3)) for face in rng.permutation(half)]
    np.testing.assert_array_equal(mesh.canonical_faces(np.array(turned)), half)
    quads = np.array([[5, 2, 7, 3], [1, 4, 0, 6]])
    np.testing.assert_array_equal(mesh.canonical_faces(quads), [[0, 6, 1, 4], [2, 7, 3, 5]])
    other = built.mirror[half]  # the right half: the same rows, mirrored
    same = mesh.canonical_faces(other[:, ::-1])
    np.testing.assert_array_equal(mesh.canonical_faces(built.faces[mesh.NUM_FACES // 2 :]), same)


def test_quadrics_are_squared_distances_to_planes():
    ball = trimesh.creation.icosphere(subdivisions=1, radius=0.1)
    points = np.stack([ball.vertices + np.array([3, -2, 5]), 1.5 * ball.vertices])  # two bodies
    faces, wanted = np.asarray(ball.faces), np.full(len(ball.vertices), 0.02)
    quadrics = mesh.vertex_quadrics(points, faces, wanted)

    def by_definition(u, place):  # place: (2, 3)
        a, b, c = (points[:, faces[(faces == u).any(axis=1), k]] for k in range(3))
        normal = np.cross(b - a, c - a)
        normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
        to_planes = (((place[:, None] - a) * normal).sum(axis=-1) ** 2).sum(axis=1)
        moved = ((place - points[:, u]) ** 2).sum(axis=1)
        return (to_planes + mesh.SPREAD**2 * moved) / wanted[u] ** 2  # (2,)

    u, v, x = 0, *np.setdiff1d(faces[(faces == 0).any(axis=1)], [0])[:2]
    once = by_definition(u, points[:, v]).mean()
    assert mesh.collapse_cost(quadrics, points, u, v) == pytest.approx(once, abs=1e-9)
    mesh.add_quadric(quadrics, points, u, v)  # v stands for both now
    both = (by_definition(u, points[:, x]) + by_definition(v, points[:, x])).mean()
    assert mesh.collapse_cost(quadrics, points, v, x) == pytest.approx(both, abs=1e-9)


def test_self_intersections_are_found():
    cube = trimesh.creation.box()
    tetrahedron = trimesh.creation.icosphere(subdivisions=0, radius=0.3)
    apart = trimesh.util.concatenate([cube, tetrahedron.copy().apply_translation([2, 0, 0])])
    assert len(mesh.self_intersections(apart.vertices, apart.faces)) == 0
    cutting = trimesh.util.concatenate([cube, tetrahedron.copy().apply_translation([0.5, 0, 0])])
    pairs = mesh.self_intersections(cutting.vertices, cutting.faces)
    assert len(pairs) > 0
    assert np.all((pairs[:, 0] < len(cube.faces)) & (pairs[:, 1] >= len(cube.faces)))


def test_distance_to_surface_equals_trimesh():
    ball = trimesh.creation.icosphere(subdivisions=3)
    rng = np.random.default_rng(0)
    queries = rng.normal(size=(200, 3))
    queries *= rng.uniform(0.5, 2, size=(200, 1)) / np.linalg.norm(queries, axis=1, keepdims=True)
    every = np.repeat(np.arange(len(ball.faces))[None], len(queries), axis=0)
    closest = trimesh.triangles.closest_point(
        ball.triangles[every.ravel()], np.repeat(queries, len(ball.faces), axis=0)
    ).reshape(*every.shape, 3)
    exact = np.linalg.norm(closest - queries[:, None], axis=2).min(axis=1)
    found = mesh.distance_to_surface(queries, ball.vertices, ball.faces)
    np.testing.assert_allclose(found, exact, atol=1e-12)


def test_triangle_quality():
    points = np.array([[0, 0, 0], [1, 0, 0], [0.5, np.sqrt(0.75), 0], [2, 0, 0]])
    quality = mesh.triangle_quality(points, np.array([[0, 1, 2], [0, 1, 3]]))
    np.testing.assert_allclose(quality, [1, 0], atol=1e-12)


def test_foreign_meshes_are_refused(assets, bodies):
    with pytest.raises(ValueError, match="not symmetric"):
        mesh.left_half(bodies + 0.01, assets.quads, assets.mirror)
    with pytest.raises(ValueError, match="not MakeHuman's base mesh"):
        mesh.edge_loop(assets.quads[:5000], *mesh.EYE_LOOP)
