"""DICOM files: pixels as pydicom's own transforms give them, patients apart and unnamed, each refusal in one line."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from archives import dataset, decoded, picture, refused, write_folder, write_zip
from dicom_files import NAME, dicom, noise, pydicom
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.core.errors import DataError, RequestError
from harness.data.card import make_card
from harness.data.decoded import DecodedDataset
from harness.data.dicom import DicomImage, Frame, check_installed
from harness.data.dicom_headers import read_facts
from harness.data.image_files import Window
from harness.data.leaks import find_leaks
from harness.data.metadata import case_table
from harness.data.split import indices, make_split
from harness.dataset import FileImage

FILES = Path(pydicom.data.__file__).parent / "test_files"
"""What pydicom brings along; nothing is downloaded."""


def read(content: bytes, window: Window | None = None, frame: Frame | None = None) -> npt.NDArray[np.uint8]:
    return DicomImage(FileImage(Path("x")), window, frame).decode(content, "x", 10**6, lambda amount: None)[0]


def fault(content: bytes, window: Window | None = None, frame: Frame | None = None, most: int = 10**6) -> str:
    with pytest.raises(DataError) as caught:
        DicomImage(FileImage(Path("x")), window, frame).decode(content, "x", most, lambda amount: None)
    assert "\n" not in str(caught.value) and NAME.split("^")[0] not in str(caught.value)
    return str(caught.value)


def expected(content: bytes, low: float, high: float, frame: int = 0) -> npt.NDArray[np.float64]:
    """What pydicom's documented transforms give, from the range of their results to 0 … 255."""
    elements = pydicom.dcmread(io.BytesIO(content))
    values = pydicom.pixels.apply_modality_lut(pydicom.pixels.pixel_array(elements, index=frame), elements)
    shown = pydicom.pixels.apply_voi_lut(values, elements)
    return np.asarray((shown.astype(np.float64) - low) * 255 / (high - low))


RESCALED = {"RescaleSlope": 2, "RescaleIntercept": -1024}


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize(("bits", "slope"), [(8, False), (12, False), (12, True), (16, True)])
def test_the_files_own_window_is_applied_as_pydicom_does(bits: int, slope: bool, function: str) -> None:
    pixels = noise(bits, bits).astype(np.uint8 if bits == 8 else np.uint16)
    rescale = RESCALED if slope else {}
    middle = 2 ** (bits - 1) * (2 if slope else 1) - (1024 if slope else 0)
    content = dicom(pixels, bits, WindowCenter=middle, WindowWidth=2 ** (bits - 2), VOILUTFunction=function, **rescale)
    low, high = (-1024, (2**bits - 1) * 2 - 1024) if slope else (0, 2**bits - 1)
    wanted = expected(content, low, high)
    assert np.abs(read(content) - wanted).max() <= 0.5 and wanted.min() < 1 and wanted.max() > 254


def test_signed_values_and_several_windows() -> None:
    pixels = (noise(3, 12).astype(np.int32) - 2048).astype(np.int16)
    content = dicom(pixels, 12, WindowCenter=[40, 600], WindowWidth=[400, 1500])
    assert np.abs(read(content) - expected(content, -2048, 2047)).max() <= 0.5


def test_a_stated_window_is_pydicoms_exact_one() -> None:
    stated = dicom(noise(1), 12, WindowCenter=40, WindowWidth=80, **RESCALED)
    elements = {"WindowCenter": 150, "WindowWidth": 500, "VOILUTFunction": "LINEAR_EXACT"}
    wanted = expected(dicom(noise(1), 12, **elements, **RESCALED), -1024, 4095 * 2 - 1024)
    assert np.abs(read(stated, (-100.0, 400.0)) - wanted).max() <= 0.5


def test_monochrome1_is_inverted() -> None:
    elements = {"WindowCenter": 2000, "WindowWidth": 3000}
    dark = dicom(noise(2), 12, PhotometricInterpretation="MONOCHROME1", **elements)
    assert (read(dark) == 255 - read(dicom(noise(2), 12, **elements))).all()


@pytest.mark.parametrize(("bits", "most"), [(8, 255), (1, 1), (6, 63)])
def test_8_bits_without_a_window_are_taken_as_they_are(bits: int, most: int) -> None:
    pixels = noise(4, bits).astype(np.uint8)
    assert (read(dicom(pixels, bits)) == np.rint(pixels * 255.0 / most)).all()


def test_a_frame_is_chosen() -> None:
    pixels = noise(5, 8, (4, 12, 10)).astype(np.uint8)
    content = dicom(pixels)
    for frame, at in (("first", 0), ("middle", 1), ("last", 3), (3, 2)):
        assert (read(content, frame=frame) == pixels[at]).all()  # type: ignore[arg-type]
    assert "holds 4 frames; choose one: `dicom: {frame: middle}`" in fault(content)
    assert "has no frame 5; it holds 4" in fault(content, frame=5)


def test_an_enhanced_file_has_its_rescale_in_each_frame() -> None:
    from pydicom.dataset import Dataset

    groups = []
    for slope in (1, 3):
        rescale, shown, group = Dataset(), Dataset(), Dataset()
        rescale.RescaleSlope, rescale.RescaleIntercept = slope, 10
        shown.WindowCenter, shown.WindowWidth = 1000 * slope, 500 * slope
        group.PixelValueTransformationSequence, group.FrameVOILUTSequence = [rescale], [shown]
        groups.append(group)
    pixels = noise(6, 12, (2, 12, 10))
    content = dicom(pixels, 12, PerFrameFunctionalGroupsSequence=groups)
    for frame, slope in enumerate((1, 3)):
        rescale = {"RescaleSlope": slope, "RescaleIntercept": 10}
        own = {"WindowCenter": 1000 * slope, "WindowWidth": 500 * slope}
        wanted = expected(dicom(pixels[frame], 12, **rescale, **own), 10, 4095 * slope + 10)
        assert np.abs(read(content, frame=frame + 1) - wanted).max() <= 0.5


@pytest.mark.parametrize(
    "name",
    [
        *("examples_rgb_color.dcm", "examples_ybr_color.dcm", "SC_ybr_full_422_uncompressed.dcm", "SC_rgb_rle.dcm"),
        *("SC_rgb_jpeg_dcmtk.dcm", "examples_jpeg2k.dcm", "SC_rgb_small_odd_big_endian.dcm"),
    ],
)
def test_colours_are_those_that_pydicom_converts(name: str) -> None:
    content = (FILES / name).read_bytes()
    pixels = read(content, frame="first")
    assert pixels.shape[2] == 3
    assert (pixels == pydicom.pixels.pixel_array(io.BytesIO(content), index=0)).all()


def test_a_palette_becomes_rgb() -> None:
    content = (FILES / "examples_palette.dcm").read_bytes()
    elements = pydicom.dcmread(io.BytesIO(content))
    wanted = pydicom.pixels.apply_color_lut(elements.pixel_array, elements)
    assert wanted.dtype == np.uint16 and (read(content, frame="first") == wanted >> 8).all()


@pytest.mark.parametrize(
    "name", ["MR_small.dcm", "MR_small_RLE.dcm", "MR_small_bigendian.dcm", "MR_small_implicit.dcm"]
)
def test_real_files_are_windowed_as_pydicom_does(name: str) -> None:
    content = (FILES / name).read_bytes()
    assert np.abs(read(content) - expected(content, -32768, 32767)).max() <= 0.5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("CT_small.dcm", "has 16 bits and no window of its own; state one: `window: [low, high]`"),
        ("image_dfl.dcm", "is compressed as a whole (deflated), which is not read; convert it"),
        ("rtplan.dcm", "holds no image (a report, a plan or a directory?); leave it out with `exclude`"),
        ("ExplVR_LitEndNoMeta.dcm", "not a DICOM file with its header"),
        ("MR_truncated.dcm", "its pixels cannot be read (The number of bytes of pixel data is less"),
        ("SC_rgb_rle_16bit.dcm", "has more than 8 bits a channel in colour"),
        ("badVR.dcm", "not a readable DICOM file (ValueError); get it again"),
    ],
)
def test_what_cannot_be_read_is_one_line(name: str, message: str) -> None:
    assert message in fault((FILES / name).read_bytes())


def test_a_missing_decoder_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydicom.pixels.decoders import JPEG2000LosslessDecoder, JPEGLSLosslessDecoder

    monkeypatch.setattr(JPEGLSLosslessDecoder, "_available", {})
    monkeypatch.setattr(JPEG2000LosslessDecoder, "_available", {})
    ls, j2k = (FILES / name for name in ("MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm"))
    assert "decoder is missing; pip install pyjpegls" in fault(ls.read_bytes())
    assert "decoder is missing; pip install pylibjpeg pylibjpeg-openjpeg" in fault(j2k.read_bytes())


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    taken: list[int] = []
    content = dicom(noise(7, 8).astype(np.uint8))
    with pytest.raises(DataError, match=r"more than the limit of 0\.0001 megapixels"):
        DicomImage(FileImage(Path("x"))).decode(content, "x", 100, taken.append)
    liar = content.replace(b"(\0\x10\0US\x02\0\x0c\0", b"(\0\x10\0US\x02\0\xff\xff")
    assert liar != content and not taken
    assert "pixels cannot be read" in fault(liar, most=10**6)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damaged_files_are_refused_or_read(data: st.DataObject) -> None:
    content = bytearray(data.draw(st.sampled_from(_SMALL)))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(128, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(content[: data.draw(st.integers(100, len(content)))])
    try:
        assert read(cut, frame="first").dtype == np.uint8
    except DataError as error:
        assert "\n" not in str(error)


_SMALL = [
    dicom(noise(8), 12, WindowCenter=1000, WindowWidth=800, **RESCALED),
    (FILES / "MR_small_RLE.dcm").read_bytes(),
    (FILES / "SC_rgb_small_odd_jpeg.dcm").read_bytes(),
]


def people(**changes: Any) -> dict[str, bytes]:
    """CLASS/IMAGE of twelve patients, three files each, some in both classes."""
    files = {}
    for number in range(36):
        patient = number // 3
        elements: dict[str, Any] = {
            "PatientID": f"MRN-{patient:05d}", "WindowCenter": 2000, "WindowWidth": 4000, "StudyDate": "20190405",
            "PatientSex": "MF"[patient % 2], "PatientAge": "095Y" if patient == 0 else "018M", "Manufacturer": "Acme",
            "BurnedInAnnotation": "YES" if number == 5 else "NO",
        }  # fmt: skip
        files[f"{'ab'[number % 2]}/{number:02d}.dcm"] = dicom(noise(number), 12, **{**elements, **changes})
    return files


def folder(root: Path, files: dict[str, bytes], **options: object) -> DecodedDataset:
    write_folder(root / "mine", files)
    return decoded("image_folder", root, root / "cache", path="mine", dicom={}, **options)


def test_patients_stay_on_one_side_and_have_no_names(tmp_path: Path) -> None:
    data = folder(tmp_path, people())
    groups = data.records["group"].to_list()
    assert len(set(groups)) == 12 and groups[0] == "patient 1"
    rows = indices(make_split(data, "grouped", 0), data)
    sides = [{groups[row] for row in side.tolist()} for side in rows]
    assert all(sides) and not sides[0] & sides[1] and not (sides[0] | sides[1]) & sides[2]
    for path in (tmp_path / "cache").rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert b"MRN" not in content and b"Muster" not in content and b"0405" not in content, path
    assert "MRN" not in case_table(data).write_csv() + repr(read_facts(FileImage(tmp_path / "mine/a/00.dcm"), "x"))


def test_headers_give_metadata_and_burned_in_text_is_flagged(tmp_path: Path) -> None:
    data = folder(tmp_path, people())
    split = make_split(data, "grouped", 0)
    card = make_card(dataset("image_folder", path="mine", dicom={}), data, split, find_leaks(data, split))
    facts = {one["name"]: one for one in card["metadata"]}
    assert facts["burned_in"]["values"] == {"no": 35, "yes": 1} and facts["window"]["values"] == {"2000/4000": 36}
    assert facts["modality"]["values"] == {"CT": 36} and facts["manufacturer"]["values"] == {"Acme": 36}
    assert facts["study_year"]["range"] == [2019.0, 2019.0] and facts["age"]["range"] == [1.5, 90.0]
    assert facts["sex"]["values"] == {"F": 18, "M": 18}
    assert "b/05.dcm: says that text is burned into its pixels; look for names" in card["notes"]
    stated = folder(tmp_path, {}, window=(0.0, 4095.0))
    assert "window" not in stated.metadata.columns and stated.fingerprint != data.fingerprint


def test_folder_archive_and_table_read_the_same(tmp_path: Path) -> None:
    files = people()
    data = folder(tmp_path, files)
    write_zip(tmp_path / "mine.zip", files)
    assert (
        decoded("image_folder", tmp_path, tmp_path / "cache", path="mine.zip", dicom={}).fingerprint == data.fingerprint
    )
    (tmp_path / "t.csv").write_text("file,label\n" + "".join(f"{name},{name[0]}\n" for name in files))
    table = decoded("image_table", tmp_path, tmp_path / "cache", table="t.csv", images="mine.zip", dicom={})
    assert table.fingerprint == data.fingerprint and table.metadata.equals(data.metadata)


@pytest.mark.parametrize(
    ("changes", "more", "message"),
    [
        ({"PatientID": ""}, {}, "a/00.dcm: has no PatientID; write `dicom: {patients: false}`"),
        ({"PatientID": "ANON"}, {}, "all 36 files have one PatientID (de-identified?)"),
        ({}, {"a/plain.png": picture(1, "PNG")}, "a/plain.png: is no DICOM file, so its patient is unknown"),
        ({}, {"a/LICENSE": b"text"}, "a/LICENSE: not a DICOM file with its header"),
    ],
)
def test_patients_that_are_not_told_are_one_line(
    tmp_path: Path, changes: dict[str, Any], more: dict[str, bytes], message: str
) -> None:
    write_folder(tmp_path / "mine", {**people(**changes), **more})
    assert message in refused("image_folder", tmp_path, path="mine", dicom={})


def test_volumes_are_refused_with_what_to_do(tmp_path: Path) -> None:
    write_folder(tmp_path / "mine", {"a/x.nii.gz": b"x", "b/y.nii.gz": b"y"})
    line = refused("image_folder", tmp_path, path="mine")
    assert "a/x.nii.gz is a volume, and volumes are not read; write the slices" in line
    write_folder(tmp_path / "slices", people())
    line = refused("image_folder", tmp_path, path="slices")
    assert "DICOM files are images with the option `dicom: {}`" in line


def test_without_pydicom_the_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pydicom", None)
    with pytest.raises(RequestError, match=r"read by pydicom, which is not installed; pip install"):
        check_installed()


def test_options_go_through_json() -> None:
    one = dataset("image_folder", path="x", dicom={"frame": "middle"}, window=(1.0, 2.0))
    assert json.loads(one.options.model_dump_json())["dicom"] == {"frame": "middle", "patients": True}
