"""The operator's page: a process that shows what the loop does and takes what a person asks for.

loop ── steps, session ring ──▶ server ──▶ browsers        process (`PageProcess`, as the loop sees it), server,
  ▲                               │                        pictures, link (who may come in), static/ (the page)
  └────── asks ring ◀─────────────┘
"""

from __future__ import annotations

from .process import PageProcess

__all__ = ["PageProcess"]
