"""The guard in a process of its own: it may be the only one that lives.

agent ── orders ring ──▶ guard ──▶ buses          client (`GuardProcess`), server (the loop), supervisor
  ▲                        │
  └───── status ring ◀─────┘                       files of one session in a folder in memory
"""

from __future__ import annotations

from .client import GuardProcess

__all__ = ["GuardProcess"]
