"""Surfaces in files, read back by trimesh: closed, at their place, as large as the masks they are of."""

import os
import sys

import numpy as np
import pytest
import trimesh
from NeuroSAM2Lib.scene.files.exporting import WRITERS, closed_surface, write_surfaces

from NeuroSAM2Core.errors import DataError
from Testing.Support.scenes import turned
from Testing.Support.volumes import ball_volume

GEOMETRIES = {
    "upright": turned(signs=(-1, -1, 1)),
    "left-handed, oblique": turned(
        signs=(1, 1, -1), spacing=(0.8, 1.2, 2.0), angles=(0.2, -0.3, 0.1), origin=(9, -30, 44)
    ),
}
NAMES, COLOURS = ("ball", "Würfel"), ((1.0, 0.2, 0.0), (0.0, 0.4, 1.0))


def masks():
    ball = ball_volume((20, 24, 26))[1]
    cube = np.zeros(ball.shape, bool)
    cube[0:6, 0:7, 0:8] = True  # it touches the end of the grid
    return ball, cube


@pytest.fixture(params=GEOMETRIES)
def matrix(request):
    return GEOMETRIES[request.param]


def surfaces_on(matrix):
    return [closed_surface(*one, matrix) for one in zip(NAMES, COLOURS, masks(), strict=True)]


def check(mesh, mask, lps):
    """Closed, outwards, and as large as its mask, whose middle is its own."""
    mesh.merge_vertices()
    assert mesh.is_watertight
    volume = mask.sum() * abs(np.linalg.det(lps[:3, :3]))
    assert mesh.volume == pytest.approx(volume, rel=0.06)
    middle = np.argwhere(mask).mean(axis=0)[::-1]
    np.testing.assert_allclose(mesh.center_mass, lps[:3, :3] @ middle + lps[:3, 3], atol=0.6)


@pytest.mark.parametrize("ending", [".stl", ".obj", ".ply"])
def test_an_object_is_written_where_it_is(ending, matrix, tmp_path):
    for surface, mask in zip(surfaces_on(matrix), masks(), strict=True):
        path = tmp_path / f"{surface.name}{ending}"
        write_surfaces(path, [surface])
        check(trimesh.load_mesh(path), mask, np.diag([-1.0, -1.0, 1.0, 1.0]) @ matrix)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere no file has such a name")
@pytest.mark.parametrize("ending", [".stl", ".obj", ".ply", ".glb"])
def test_a_name_that_is_no_utf8_is_written(ending, tmp_path):
    folder = tmp_path / os.fsdecode(b"Sch\xe4del")
    folder.mkdir()
    path = folder / (os.fsdecode(b"W\xfcrfel") + ending)
    write_surfaces(path, surfaces_on(np.eye(4))[:1])
    assert os.listdir(folder) == [path.name]
    assert trimesh.load_scene(path).geometry


def test_a_ply_file_has_the_colour(matrix, tmp_path):
    write_surfaces(tmp_path / "a.ply", surfaces_on(matrix)[:1])
    colours = trimesh.load_mesh(tmp_path / "a.ply").visual.vertex_colors
    assert (colours[:, :3] == (255, 51, 0)).all()


def test_a_glb_file_has_all_objects_with_names_and_colours_upright_in_metres(matrix, tmp_path):
    write_surfaces(tmp_path / "a.glb", surfaces_on(matrix))
    scene = trimesh.load_scene(tmp_path / "a.glb")
    assert set(scene.geometry) == set(NAMES)
    to_gltf = np.array([[1, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1000]]) / 1000
    for name, colour, mask in zip(NAMES, COLOURS, masks(), strict=True):
        mesh = scene.geometry[name].copy()
        shown = mesh.visual.material.baseColorFactor[:3] / 255
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in colour]
        np.testing.assert_allclose(shown, linear, atol=0.01)
        mesh.apply_transform(np.linalg.inv(to_gltf))
        check(mesh, mask, matrix)


def test_smoothing_keeps_the_volume_and_none_keeps_the_steps():
    mask = masks()[0]
    rough, smooth = (closed_surface("a", (1, 0, 0), mask, np.eye(4), smoothing=passes) for passes in (0, 15))
    steps = rough.points * 2
    assert (steps == np.rint(steps)).all()
    assert not (smooth.points * 2 == np.rint(smooth.points * 2)).all()
    outwards = np.einsum("ij,ij->i", smooth.normals, smooth.points - smooth.points.mean(axis=0))
    assert (outwards > 0).mean() > 0.99


def test_a_file_that_is_there_and_an_unknown_ending_are_refused(tmp_path):
    surfaces = surfaces_on(np.eye(4))
    for ending in WRITERS:
        path = tmp_path / f"a{ending}"
        path.write_bytes(b"mine")
        with pytest.raises(DataError, match="is there already"):
            write_surfaces(path, surfaces)
        assert path.read_bytes() == b"mine"
    with pytest.raises(DataError, match=r"ends in \.stl"):
        write_surfaces(tmp_path / "a.fbx", surfaces)
