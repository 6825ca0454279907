"""Share one tiny encoder and its weights file between the tests."""

from __future__ import annotations

import pytest
import tiny_encoder
import tiny_graphs


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> tiny_graphs.Exported:
    return tiny_graphs.export(tiny_encoder.encoder(), tmp_path_factory.mktemp("graphs"))
