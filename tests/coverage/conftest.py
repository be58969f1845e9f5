"""Fixtures: what all cases of a session share."""

from __future__ import annotations

import pytest

from tests.coverage.running import Workshop


@pytest.fixture(scope="session")
def workshop(tmp_path_factory) -> Workshop:
    return Workshop(tmp_path_factory.mktemp("workshop"))
