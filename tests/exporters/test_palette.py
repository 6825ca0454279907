"""Writing a palette: what it holds, and that the old one stands whenever a new one fails."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import onnxruntime
import pytest
import tiny_encoder
import tiny_palette
import tiny_supernet
import torch

from edgedistill.distillation.mlfs import EncodedData
from edgedistill.errors import ExportError
from edgedistill.exporters import members, write_palette
from edgedistill.exporters.sensitivity import losses_in, parts_that_cost
from edgedistill.palette import DeviceProfile, Palette, Precision, load, write_profile
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

SUBNETS = list(tiny_encoder.SPACE)


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    return tiny_supernet.supernet()


@pytest.fixture(scope="module")
def rows() -> EncodedData:
    return tiny_supernet.rows()


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_palette_names_all_of_its_files_and_opens(supernet: Supernet, rows: EncodedData, tmp_path: Path) -> None:
    done: list[str] = []
    written = write_palette(supernet, SUBNETS[:4], rows, tmp_path / "palette", done.append)
    assert done == [s.name for s in SUBNETS[:4]]
    written.check_hashes()
    assert {e.name for e in written.manifest.files} | {"manifest.json"} == set(_files(written.folder))
    for entry, subnet in zip(written.manifest.subnets, SUBNETS[:4], strict=True):
        assert entry.config == subnet
        assert {q.split for q in entry.quality} == {"validation", "test"}
        assert all(q.low <= q.value <= q.high for q in entry.quality)
        onnxruntime.InferenceSession(written.folder / entry.graph, providers=["CPUExecutionProvider"])


def test_the_same_supernet_gives_the_same_bytes(supernet: Supernet, rows: EncodedData, tmp_path: Path) -> None:
    first, second = (
        write_palette(supernet, SUBNETS[:2], rows, tmp_path / name, lambda _: None).folder for name in ("one", "two")
    )
    assert _files(first) == _files(second)


def test_a_failed_export_leaves_the_old_palette_and_nothing_else(
    supernet: Supernet, rows: EncodedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_palette(supernet, SUBNETS[:2], rows, tmp_path / "palette", lambda _: None).folder
    before = _files(folder)
    checks = iter([0.0, ExportError("it differs")])

    def fail_on_the_second(*_: object) -> float:
        result = next(checks)
        if isinstance(result, ExportError):
            raise result
        return result

    monkeypatch.setattr(members, "check_graph", fail_on_the_second)
    with pytest.raises(ExportError, match="it differs"):
        write_palette(supernet, SUBNETS[2:6], rows, folder, lambda _: None)
    assert _files(folder) == before
    checks = iter([ExportError("again")])
    with pytest.raises(ExportError, match="again"):
        write_palette(supernet, SUBNETS[:1], rows, tmp_path / "new", lambda _: None)
    assert not (tmp_path / "new").exists()


def test_what_no_manifest_names_goes_at_the_next_export(supernet: Supernet, rows: EncodedData, tmp_path: Path) -> None:
    folder = tmp_path / "palette"
    write_palette(supernet, SUBNETS[:1], rows, folder, lambda _: None)
    first = set(_files(folder))
    write_palette(supernet, SUBNETS[-1:], rows, folder, lambda _: None)
    assert first <= set(_files(folder))  # a session may still have them open
    write_palette(supernet, SUBNETS[-1:], rows, folder, lambda _: None)
    assert set(_files(folder)) == {e.name for e in load(folder).manifest.files} | {"manifest.json"}


def test_a_supernet_comes_back_from_disk_as_it_was(supernet: Supernet, tmp_path: Path) -> None:
    checkpoint.save(supernet, tmp_path / "supernet")
    again = checkpoint.load(tmp_path / "supernet")
    assert again.info == supernet.info
    assert again.space == supernet.space
    feeds = tiny_encoder.inputs(2, 5)
    for subnet in (SUBNETS[0], SUBNETS[-1]):
        difference = again.model(*feeds, subnet).logits - supernet.model(*feeds, subnet).logits
        assert float(difference.abs().max()) < 1e-6
    checkpoint.save(again, tmp_path / "supernet")
    assert [path.name for path in tmp_path.iterdir()] == ["supernet"]


def test_a_checkpoint_with_an_unknown_key_is_refused_by_name(supernet: Supernet, tmp_path: Path) -> None:
    checkpoint.save(supernet, tmp_path / "supernet")
    path = tmp_path / "supernet" / "supernet.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"colour": "blue"}))
    with pytest.raises(checkpoint.CheckpointError, match="colour"):
        checkpoint.load(tmp_path / "supernet")


def test_a_checkpoint_of_the_first_version_is_refused_in_a_line(supernet: Supernet, tmp_path: Path) -> None:
    checkpoint.save(supernet, tmp_path / "supernet")
    path = tmp_path / "supernet" / "supernet.json"
    document = json.loads(path.read_text())
    document["info"]["schema_version"] = 1
    path.write_text(json.dumps(document))
    with pytest.raises(checkpoint.CheckpointError, match=r"schema_version.*2; train again$"):
        checkpoint.load(tmp_path / "supernet")


@pytest.mark.parametrize("ranks", [(None,), (3, None), (None, 2), (2, 5)])
def test_a_supernet_of_any_kind_of_stages_comes_back(
    supernet: Supernet, ranks: tuple[int | None, ...], tmp_path: Path
) -> None:
    model = tiny_encoder.encoder(pairs=0, scale=supernet.info.scale)
    for rank in ranks:
        model.begin_stage(rank, torch.Generator().manual_seed(0))
        for linear in model.elastic_linears().values():
            trained = linear.weight if rank is None else linear.pairs[-1].B
            trained.data += 0.1
    model.freeze()
    checkpoint.save(dataclasses.replace(supernet, model=model), tmp_path / "supernet")
    again = checkpoint.load(tmp_path / "supernet").model
    with torch.no_grad():
        actual, expected = (m(*tiny_encoder.inputs(2, 5), SUBNETS[-1]).logits for m in (again, model))
    torch.testing.assert_close(actual, expected, atol=1e-6, rtol=1e-5)
    assert len(again.layers[0].query.pairs) == {(None,): 0, (3, None): 0, (None, 2): 1, (2, 5): 2}[ranks]


def test_a_subnet_in_two_precisions_is_two_members_over_two_weights_files(
    supernet: Supernet, rows: EncodedData, tmp_path: Path
) -> None:
    done: list[str] = []
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    written = write_palette(supernet, SUBNETS[:2], rows, tmp_path / "p", done.append, precisions=precisions)
    names = [subnet.name for subnet in SUBNETS[:2]]
    assert done == [entry.name for entry in written.manifest.subnets] == [*names, *(f"{name}-int8" for name in names)]
    assert [entry.precision for entry in written.manifest.subnets] == ["fp32", "fp32", "int8", "int8"]
    exact, whole = written.manifest.subnets[0], written.manifest.subnets[2]
    assert exact.config == whole.config == SUBNETS[0]
    assert exact.weights != whole.weights
    assert whole.size_mb < exact.size_mb
    losses = losses_in(written.manifest, "int8")
    assert losses == {
        whole.name: exact.score("validation") - whole.score("validation")
        for exact, whole in zip(written.manifest.subnets[:2], written.manifest.subnets[2:], strict=True)
    }


def test_the_parts_that_int8_costs_are_ranked_by_what_keeping_them_gives(supernet: Supernet, rows: EncodedData) -> None:
    parts = parts_that_cost(supernet, SUBNETS[0], rows.validation)
    assert {part.prefix for part in parts} == {"embeddings", *(f"layers.{i}" for i in SUBNETS[0].kept)}
    scores = [part.score for part in parts]
    assert scores == sorted(scores, reverse=True)


def test_a_part_that_is_not_there_cannot_be_kept(supernet: Supernet, rows: EncodedData, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"no 'layer.5' to keep in fp32; the parts are embeddings, layers.0"):
        write_palette(supernet, SUBNETS[:2], rows, tmp_path / "p", print, precisions=("int8",), keep_fp32=("layer.5",))
    assert not (tmp_path / "p").exists()


@pytest.mark.slow
def test_a_family_changes_without_its_weights_or_what_is_known_of_others(
    supernet: Supernet, rows: EncodedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One goes, one comes: only the new one is measured, and a device's figures of the others are kept."""
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    first, second, third, fourth = SUBNETS[0], SUBNETS[2], SUBNETS[4], SUBNETS[6]
    folder = tmp_path / "palette"
    old = write_palette(supernet, [first, second, third], rows, folder, lambda _: None, precisions=precisions)
    write_profile(old, _profile(old))
    weights = {path.name: path.stat() for path in folder.glob("weights*")}
    measured: list[Path] = []
    real = members.graph_outputs
    monkeypatch.setattr(members, "graph_outputs", lambda path, *rest: measured.append(path) or real(path, *rest))
    family = [first, third, fourth]
    new = write_palette(
        supernet, family, rows, folder, lambda _: None, precisions=precisions, changing=load(folder)
    )  # fmt: skip
    new.check_hashes()
    asked = {path.name.split("-fp32")[0].split("-int8")[0] for path in measured}
    assert asked == {first.name, fourth.name}  # the first is what the others are compared with
    assert [entry.config for entry in new.manifest.subnets] == [*family, *family]
    for entry in new.manifest.subnets:
        if entry.config in (first, third):
            assert entry == old.manifest.subnet(entry.name)
    assert [subnet.subnet for subnet in load(folder).profiles["here"].subnets] == [first.name, third.name]
    anew = write_palette(supernet, family, rows, tmp_path / "anew", lambda _: None, precisions=precisions).manifest
    assert [entry.quality for entry in anew.subnets] == [entry.quality for entry in new.manifest.subnets]
    assert [entry.calibration for entry in anew.subnets] == [entry.calibration for entry in new.manifest.subnets]
    again = [first, second, third]
    back = write_palette(supernet, again, rows, folder, lambda _: None, precisions=precisions, changing=new)
    assert back.manifest.subnets == old.manifest.subnets
    assert {path.name: path.stat() for path in folder.glob("weights*")} == weights


def test_a_change_that_the_palette_cannot_take_leaves_it_as_it_was(
    supernet: Supernet, rows: EncodedData, tmp_path: Path
) -> None:
    folder = tmp_path / "palette"
    old = write_palette(supernet, SUBNETS[3:5], rows, folder, lambda _: None)
    before = _files(folder)
    with pytest.raises(ExportError, match=r"keeps more of .* than any of its members; export it to a new folder"):
        write_palette(supernet, SUBNETS[:5], rows, folder, lambda _: None, changing=old)
    other = dataclasses.replace(supernet, model=tiny_encoder.encoder(scale=supernet.info.scale * 2))
    with pytest.raises(ExportError, match="exported from another supernet or with other options"):
        write_palette(other, SUBNETS[3:5], rows, folder, lambda _: None, changing=old)
    few = dataclasses.replace(rows.train, ids=rows.train.ids[:3], type_ids=rows.train.type_ids[:3], labels=None)
    with pytest.raises(ExportError, match="exported with other texts out of scope"):
        write_palette(supernet, SUBNETS[3:6], rows, folder, lambda _: None, changing=old, out_of_scope=few)
    assert _files(folder) == before


def _profile(palette: Palette) -> DeviceProfile:
    """Figures of the fp32 members on some device."""
    entries = [entry for entry in palette.manifest.subnets if entry.precision == "fp32"]
    template = tiny_palette.profile(palette.manifest)
    figures = template.subnets[0]
    subnets = [figures.model_copy(update={"subnet": entry.name}) for entry in entries]
    return template.model_copy(update={"subnets": subnets})
