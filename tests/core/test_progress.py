"""Progress bars change nothing about the work."""

from __future__ import annotations

import io

import pytest
import rich.console

from speechnlp_tl.core.progress import shown


@pytest.mark.parametrize("show", [True, False])
@pytest.mark.parametrize("terminal", [True, False])
def test_all_items_come_in_their_order_and_a_bar_only_on_a_terminal(show, terminal, monkeypatch):
    written = io.StringIO()
    console = rich.console.Console(file=written, force_terminal=terminal)
    monkeypatch.setattr(rich.console, "Console", lambda stderr: console)
    assert list(shown(range(5), "counting", show)) == [0, 1, 2, 3, 4]
    assert ("counting" in written.getvalue()) is (show and terminal)
