# The wheel ships no stubs; its compiled module is dynamic. Everything is Any, honestly.
from typing import Any

def __getattr__(name: str) -> Any: ...
