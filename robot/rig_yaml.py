"""YAML as a rig file may hold it: plain values, every key once and a text, aliases that stay small."""

from __future__ import annotations

from typing import Any

import yaml

NODES_MAX = 20_000  # values of a file, aliases counted each time they are used


class StrictLoader(yaml.SafeLoader):
    """`yaml.SafeLoader` that refuses what would be dropped or blown up silently."""

    def compose_document(self) -> Any:
        """The tree of the document; raises `yaml.YAMLError` with the line of what is wrong."""
        root = super().compose_document()
        _size(root, {}, set())
        return root

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """As the parent's, every key a text and there once: of two, YAML keeps the last without a word."""
        if isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, _ in node.value:
                if key.tag == "tag:yaml.org,2002:merge":
                    continue
                if key.tag != "tag:yaml.org,2002:str":
                    raise yaml.MarkedYAMLError(
                        problem=f"the key {key.value!r:.40} is not a text; put it in quotes",
                        problem_mark=key.start_mark,
                    )
                if key.value in seen:
                    raise yaml.MarkedYAMLError(
                        problem=f"'{key.value:.40}' stands twice in one mapping", problem_mark=key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep)


def _size(node: Any, known: dict[int, int], above: set[int]) -> int:
    """How many values `node` holds with every alias written out."""
    if id(node) in known:
        return known[id(node)]
    if id(node) in above:
        raise yaml.MarkedYAMLError(problem="an alias that holds itself", problem_mark=node.start_mark)
    children: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        children = node.value
    elif isinstance(node, yaml.MappingNode):
        children = [part for pair in node.value for part in pair]
    total = 1 + sum(_size(child, known, above | {id(node)}) for child in children)
    if total > NODES_MAX:
        raise yaml.MarkedYAMLError(
            problem=f"more than {NODES_MAX} values once its aliases are written out",
            problem_mark=node.start_mark,
        )
    known[id(node)] = total
    return total
