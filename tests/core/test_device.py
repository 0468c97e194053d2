"""Where a finished model works."""

from __future__ import annotations

import pytest
import torch

from speechnlp_tl.core.device import usual_device


@pytest.mark.parametrize(("there", "kind"), [(True, "cuda"), (False, "cpu")])
def test_a_gpu_is_taken_where_one_is_visible(monkeypatch: pytest.MonkeyPatch, there: bool, kind: str) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: there)
    assert usual_device().type == kind
