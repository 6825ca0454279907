"""Replace a served folder by every way of copying on this machine, as the benchmark `replacements` does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import readme
import tiny_palette

from benchmarks.swapping import replacements
from edgedistill.palette import load


@pytest.mark.slow
def test_a_folder_that_is_replaced_loses_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(readme.ROOT)  # from where its process is started
    folder = tiny_palette.write(tmp_path / "served")
    versions = [load(tiny_palette.write(tmp_path / "first"))]
    versions.append(load(replacements.other_palette(versions[0], tmp_path / "second")))
    feeds, expected = replacements.feeds_of(versions[0]), tmp_path / "expected.json"
    answers = {palette.manifest.digest: replacements.plain_answers(palette, feeds) for palette in versions}
    expected.write_text(json.dumps(answers))
    server = replacements.Server(folder, expected)
    try:
        assert server.serves(versions[0].manifest.digest)
        with replacements.ways() as ways:
            assert len(ways) >= 4
            for turn, (name, way) in enumerate(ways.items(), start=1):
                new = versions[turn % 2]
                way(new.folder, folder)
                assert server.serves(new.manifest.digest), name
    finally:
        died = server.close()
    assert not died
    assert (server.last["lost"], server.last["wrong"]) == (0, 0), server.last["errors"]
    assert server.last["answered"] > 0
