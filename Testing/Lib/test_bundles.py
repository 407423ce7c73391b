"""A scene bundle that is opened can only be read: it writes nowhere else, reads nothing else, runs and fetches nothing."""

import base64
import io
import stat
import sys
import tarfile
import zipfile
import zlib

import numpy as np
import pytest
from NeuroSAM2Lib.sandbox import SceneSandbox
from NeuroSAM2Lib.scene.files import bundle as bundle_module
from NeuroSAM2Lib.scene.files import nrrd_image
from NeuroSAM2Lib.scene.files.bundle import unpack_bundle
from NeuroSAM2Lib.scene.files.packing import pack_bundle
from NeuroSAM2Lib.scene.volume_nodes import read_volume

from NeuroSAM2Core.errors import Cancelled, DataError
from Testing.Support.scenes import GEOMETRIES, add_segmentation, add_volume

SCENE = "a/a.mrml"


def mrml(body=""):
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<MRML version="Slicer5.11" userTags="">{body}</MRML>'


def storage(**attributes):
    text = " ".join(f'{key}="{value}"' for key, value in attributes.items())
    return mrml(f'<VolumeArchetypeStorage id="vtkMRMLVolumeArchetypeStorageNode1" {text}></VolumeArchetypeStorage>')


def bundle(path, entries, *, front=b""):
    """A bundle of these (name or entry, content)."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    path.write_bytes(front + buffer.getvalue())
    return path


def special(name, mode):
    entry = zipfile.ZipInfo(name)
    entry.create_system, entry.external_attr = 3, mode << 16
    return entry


def tar(*names):
    buffer = io.BytesIO()
    with tarfile.TarFile(fileobj=buffer, mode="w") as file:
        for name in names:
            entry = tarfile.TarInfo(name)
            entry.size = 4
            file.addfile(entry, io.BytesIO(b"evil"))
    return buffer.getvalue()


@pytest.fixture
def refused(app, tmp_path):
    """That a bundle is refused with a sentence, while nothing appears beside it and the scene stays as it was."""

    def check(sentence, entries, *, front=b"", scene=SCENE):
        place = tmp_path / "place"
        place.mkdir()
        path = bundle(place / "a.mrb", [*entries, *([(scene, mrml())] if scene else [])], front=front)
        before, count = sorted(tmp_path.rglob("*")), app.scene.GetNumberOfNodes()
        with pytest.raises(DataError, match=sentence) as text:
            app.load(path)
        assert sorted(tmp_path.rglob("*")) == before
        assert app.scene.GetNumberOfNodes() == count
        assert str(text.value).startswith("a.mrb")

    return check


def test_a_tar_in_front_of_a_bundle_is_refused(refused):
    refused("begins with something else", [], front=tar("../evil.txt", "/tmp/evil.txt"))


def test_other_bytes_in_front_of_a_bundle_are_refused(refused):
    refused("begins with something else", [], front=b"PK\3\4 and more")


def test_a_tar_alone_is_refused(app, tmp_path):
    (tmp_path / "a.mrb").write_bytes(tar("../evil.txt", SCENE))
    with pytest.raises(DataError, match="cannot be read"):
        app.load(tmp_path / "a.mrb")


@pytest.mark.parametrize("mode", [stat.S_IFLNK, stat.S_IFIFO, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFSOCK])
def test_links_and_other_special_files_are_refused(refused, mode):
    refused("no plain file", [(special("a/link", mode | 0o777), "/tmp"), ("a/link/evil.txt", "evil")])


@pytest.mark.parametrize(
    "name",
    [
        "../evil.txt",
        "a/../../evil.txt",
        "/tmp/evil.txt",
        "//server/evil.txt",
        "C:evil.txt",
        "c:/evil.txt",
        "..\\evil.txt",
        "a\\b.txt",
    ],
)
def test_a_name_with_a_way_out_is_refused(refused, name):
    refused("reaches outside", [(name, "evil")])


def test_a_name_with_a_zero_byte_is_refused(tmp_path):
    path = bundle(tmp_path / "a.mrb", [(SCENE, mrml()), ("a/evil~.txt", "evil")])
    path.write_bytes(path.read_bytes().replace(b"evil~", b"evil\0"))
    (tmp_path / "out").mkdir()
    with pytest.raises(DataError, match="reaches outside"):
        unpack_bundle(path, tmp_path / "out")


@pytest.mark.parametrize("scenes", [("a/a.txt",), (SCENE, "a/b.mrml"), (SCENE, "a/A.MRML")])
def test_a_bundle_holds_one_scene(refused, scenes):
    refused(r"same name|expected one", [(name, mrml()) for name in scenes], scene=None)


def test_a_bundle_that_would_become_far_too_large_is_refused_unpacked(refused, monkeypatch):
    monkeypatch.setattr(bundle_module, "SMALL", 1000)
    refused("times larger", [("a/bomb.txt", bytes(10**6))])


def test_a_bundle_is_held_against_the_memory_that_is_free(refused, monkeypatch):
    monkeypatch.setattr(nrrd_image.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 1000}))
    refused("GB of memory", [("a/large.txt", b"x" * 2000)])


def test_an_image_is_held_against_the_room_on_the_disk_before_it_is_written_anew(refused, monkeypatch):
    monkeypatch.setattr(nrrd_image.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 1000}))
    head = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\n\n"
    refused("too full to unpack", [("a/Data/b.nrrd", head + bytes(24))])


def test_a_bundle_of_very_many_files_is_refused(refused, monkeypatch):
    monkeypatch.setattr(bundle_module, "MAX_ENTRIES", 5)
    refused("expected at most 5", [(f"a/{n}.txt", "") for n in range(6)])


def test_a_damaged_bundle_is_refused(app, tmp_path):
    path = bundle(tmp_path / "a.mrb", [("a/a.txt", np.random.default_rng(0).bytes(500)), (SCENE, mrml())])
    data = bytearray(path.read_bytes())
    for damaged in (bytes(data[:200]), bytes(data[:300]) + b"~" + bytes(data[301:]), b""):
        path.write_bytes(damaged)
        with pytest.raises(DataError, match=r"a\.mrb cannot be read"):
            app.load(path)


@pytest.mark.parametrize(
    ("attributes", "sentence"),
    [
        ({"uri": "http://127.0.0.1:9/a.nrrd"}, "on the network"),
        ({"fileName": "Data/a.nrrd", "uriListMember0": "http://127.0.0.1:9/a.nrrd"}, "on the network"),
        ({"fileName": "http://127.0.0.1:9/a.nrrd"}, "outside"),
        ({"fileName": "file:///etc/a.nrrd"}, "outside"),
        ({"fileName": "/etc/a.nrrd"}, "outside"),
        ({"fileName": "../../../a.nrrd"}, "outside"),
        ({"fileName": "%2e%2e/a.nrrd"}, "outside"),
        ({"fileName": "%252e%252e/a.nrrd"}, "outside"),
        ({"fileName": "%2Fetc%2Fa.nrrd"}, "outside"),
        ({"fileName": "C:\\a.nrrd"}, "outside"),
        ({"fileName": "Data\\..\\..\\a.nrrd"}, "outside"),
        ({"fileName": "Data/a.nrrd", "fileListMember7": "/etc/a.nrrd"}, "outside"),
        ({"fileName": "."}, "outside"),
        ({"fileName": "é" * 300 + ".nrrd"}, "by 305 letters"),
        ({"fileName": "Data/a.mhd"}, "of a kind that is not read"),
        ({"fileName": "Data/a.seq.mrb"}, "of a kind that is not read"),
        ({"fileName": "Data/passwd"}, "of a kind that is not read"),
        ({"fileName": "a.mrml"}, "of a kind that is not read"),
    ],
)
def test_a_scene_that_names_anything_outside_of_itself_is_refused(refused, attributes, sentence):
    refused(sentence, [(SCENE, storage(**attributes))], scene=None)


def test_nothing_that_fetches_is_attached_to_the_scene(app):
    assert app.scene.GetDataIOManager() is None


def test_a_scene_within_a_view_of_the_scene_is_looked_at_as_well(refused):
    inner = storage(uri="http://127.0.0.1:9/a.nrrd").split("?>")[1]
    refused("on the network", [(SCENE, mrml(f"<SceneView>{inner}</SceneView>"))], scene=None)


@pytest.mark.parametrize("kind", ["CommandLineModule", "RemoteIO", "IGTLConnector", "PlusServerLauncher"])
def test_nodes_that_run_programs_or_reach_other_computers_are_refused(refused, kind):
    refused("runs programs or reaches", [(SCENE, mrml(f'<{kind} id="a" autorun="1"></{kind}>'))], scene=None)


@pytest.mark.parametrize(
    "definition",
    ['<!DOCTYPE a [<!ENTITY b "c">]>', '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>', "<!DOCTYPE a>"],
)
def test_a_scene_with_definitions_of_its_own_is_refused(refused, definition):
    refused("definitions of its own", [(SCENE, mrml().replace("<MRML", f"{definition}<MRML"))], scene=None)


def test_a_scene_that_is_no_xml_is_refused(refused):
    refused("its scene is damaged", [(SCENE, mrml() + "<")], scene=None)


def test_a_damaged_image_in_a_bundle_is_named(refused):
    refused(r"a\.mrb: b\.nrrd cannot be read", [("a/Data/b.nrrd", b"NRRD0004\nnothing")])


def test_an_image_that_names_its_data_elsewhere_is_refused_whatever_its_own_name(refused):
    head = b"NRRD0004\ntype: uint8\ndimension: 3\nsizes: 2 3 4\nencoding: raw\ndata file: /etc/passwd\n\n"
    refused("its data lies elsewhere", [("a/Data/b.nii", head)])


@pytest.fixture
def saved(app, tmp_path):
    """A bundle of an image under a transform, and a segmentation."""
    image = add_volume(app, np.arange(60, dtype=np.int16).reshape(3, 4, 5), GEOMETRIES["under a turn"])
    node, _ = add_segmentation(app, "one")
    node.SetReferenceImageGeometryParameterFromVolumeNode(image)
    app.save(tmp_path / "a.mrb")
    matrix = read_volume(image).ijk_to_ras
    app.scene.Clear(0)
    return tmp_path / "a.mrb", matrix


def test_a_sound_bundle_comes_back_and_can_be_saved_again(app, saved, tmp_path):
    path, matrix = saved
    for _ in range(2):
        app.load(path)
        image = app.scene.GetFirstNodeByName("T1")
        np.testing.assert_array_equal(read_volume(image).voxels.ravel(), np.arange(60))
        np.testing.assert_allclose(read_volume(image).ijk_to_ras, matrix, atol=1e-6)
        assert app.scene.GetFirstNodeByName("Segmentation").GetSegmentation().GetNumberOfSegments() == 1
        path = tmp_path / "again.mrb"
        app.save(path, overwrite=True)
        with pytest.raises(DataError, match="is there already"):
            app.save(path)
        app.scene.Clear(0)
    assert list((tmp_path / "unpacked").iterdir()) == []


def test_a_bundle_is_packed_and_so_is_what_is_saved_later(app, saved):
    with zipfile.ZipFile(saved[0]) as bundle:
        for name in bundle.namelist():
            if name.endswith(".nrrd"):
                assert b"encoding: gzip\n" in bundle.read(name)
        assert b'useCompression="0"' not in bundle.read(SCENE)
    app.load(saved[0])
    assert app.scene.GetFirstNodeByName("T1").GetStorageNode().GetUseCompression()


REACHING = zlib.decompress(
    base64.b85decode(
        "c-rgqaB<`1lHy|G;9!7(|4^_%0m3(cir?gw-tO<=62zpC>%x<bj4POgkTt>p7ZU>`0|T2V1CZkK4Dk+2Eh^5;&pQk?4=Mq40aW5XBSb<#fPvu|"
        "D}-&ufDki=iYdUIYHX?e8|)-SbSE(|GKw%TFfjrFR4t5V7GYqN1abrzAQ&Rf!N3Z1Ei)4b&?n4{4A9UJfLXMGVaS0ynTy$J5jFx6LqBYI=f}Cz"
        "B5V|fLD>9HDYK_V*cc3huu<Qwt>EwM;msxj@*}5zFtp?nXMxC@EJ<l3r-<YM8OLa#zy`I)gL+POm2gM`J6RB92b+JeUt(_RZzgCFEC~|i3n@y>"
        "D^ANV%5^WwFD(d$7PH?1>+V84^VtpJ2^fvvGZG*(dEsV;R2HOehI))m86+nGmvhUkNKFYyECM>I1Q?P55{Sb7JUfJ~#ekI7HeS@(M~k%SFbvY>"
        "&#e-S;E0w3`B4}i#)#m}k%Xu$R!yG*)dY%a0S-ifxjXy&Fd~HnBa%80Fx4~BGX>Jn^ur(nORz3(rV2TkNkxf8l?r8$Okt&9sAp)TX9$i2G;@41"
        "^GYj#G&J8Z@Iz@cJwppU6BFIEWZg1TOH;UdDJbojmX?{93in%lN`7flPHMbyyfJEEIPf!!f>AIEM!_f;1*2dTjDk@x3P!;w7zLvM2arJ;4`4zY"
        "A7F;|(_wrTXullB2dO1AI0G98fYTxjjDiaG(D8N$1`}=ulm9?T@Zby=WN;=x0isp{=Exy9IFs|&Pm_^>4Kkhr9aLe2`Uo~;#RFB#0}mq!uu^Q{"
        "0|{>qusjnJ6W9QD1`RMDf*Bbypy9@W=9UBom^j3KW=7ZmUILoR2)cyL_8HGEjpn>jFbYP&C>Yv6w9?{m>_(9T*6c>oKCB!EiYJL)@6hIR@Njhu"
        "K(51K^9mgbsQU9uONuj7QuUHD^T2!nY<>n%"
    )
)
"""A transform as Slicer writes it (HDF5), but with its numbers in a file `outside.bin` in the current folder."""


def sandbox(path, folder):
    folder.mkdir()
    with SceneSandbox() as reader:
        reader.read(unpack_bundle(path, folder), path.name)


def test_a_sound_bundle_passes_the_trial(saved, tmp_path):
    sandbox(saved[0], tmp_path / "sound")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot bound how many files are open")
def test_a_file_that_reads_another_one_fails_the_trial(saved, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "outside.bin").write_bytes(np.linspace(1, 2, 12).tobytes())
    with zipfile.ZipFile(saved[0]) as file:
        entries = [(name, REACHING if name.endswith(".h5") else file.read(name)) for name in file.namelist()]
    with pytest.raises(DataError, match=r"b\.mrb cannot be read: Slicer refuses"):
        sandbox(bundle(tmp_path / "b.mrb", entries), tmp_path / "reaching")


def test_a_reader_that_dies_or_never_ends_is_a_sentence(tmp_path):
    with SceneSandbox() as reader:
        reader._process.kill()
        with pytest.raises(DataError, match=r"a\.mrb cannot be read: it ends Slicer's reader"):
            reader.read(tmp_path / "a.mrml", "a.mrb")
    with SceneSandbox() as reader, pytest.raises(DataError, match="takes longer"):
        reader.read(tmp_path / "a.mrml", "a.mrb", limit_s=0.01)
    assert reader._process.poll() is not None


def test_packing_that_is_given_up_replaces_nothing_by_what_is_left_of_the_folder(tmp_path):
    path = tmp_path / "scene.mrb"
    path.write_bytes(b"the former scene")
    with pytest.raises(Cancelled):
        pack_bundle(tmp_path / "removed" / "scene", path, overwrite=True, is_cancelled=lambda: True)
    assert path.read_bytes() == b"the former scene"
    assert list(tmp_path.iterdir()) == [path]
