"""Draws an episode's parameters from one seed, and writes a draw into a scene or a batch of simulations."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

import mujoco
import numpy as np

from ...robot.errors import UsageError, nearest
from ..scene import Scene
from .param import Choice, Derived, Integer, Param, Value
from .stream import U64, keys_of, units

Draw: TypeAlias = dict[str, Value]
_OBJECT = mujoco.mjtObj

# Model fields that mj_setConst reads; None on a MuJoCo that does not tell: then it runs after every draw.
CONSTANT_INPUTS: frozenset[str] | None = frozenset(getattr(mujoco.MjModel, "_setconst_inputs", ())) or None


class Randomizer:
    """Typed, dependency-aware randomisation: one seed -> one logged draw -> one model.

    Raises `UsageError` for two parameters of one name, for needs that no parameter has, and for cycles.
    """

    def __init__(self, params: Sequence[Param]) -> None:
        self.params: tuple[Param, ...] = _in_order(params)
        self._by_name = {param.name: param for param in self.params}
        self._applied = tuple((p.name, p.apply) for p in self.params if p.apply is not None)
        counts = [param.distribution.count for param in self.params]
        self._ends: list[int] = np.cumsum(counts).tolist()
        self._keys: U64 = np.concatenate(
            [keys_of(p.name, n) for p, n in zip(self.params, counts, strict=True)]
            or [np.zeros(0, dtype=np.uint64)]
        )
        kinds = [isinstance(p.distribution, Choice | Integer) for p in self.params]
        self._narrowed = ~np.repeat(np.array(kinds, dtype=bool), counts)
        self._scratch: tuple[mujoco.MjModel, mujoco.MjData, _ModelFields] | None = None
        self._batch: tuple[Any, _BatchFields] | None = None

    @property
    def names(self) -> tuple[str, ...]:
        """Names in the order of drawing and applying."""
        return tuple(self._by_name)

    def draw(self, seed: int, fixed: Mapping[str, Any] | None = None, width: float = 1.0) -> Draw:
        """The draw of `seed`: name -> JSON value, in the order of the parameters.

        Every parameter has its own random stream, so adding one changes no other. Values in `fixed` are
        taken as they are, and derived ones follow from them: fitted values go there. `width` from 0 to 1
        narrows the ranges of numbers around their middle (choices stay free): a curriculum's handle.
        """
        if fixed:
            self._check_known(fixed)
        uniform = units(seed, self._keys)
        if width != 1.0:
            if not 0.0 <= width <= 1.0:
                raise UsageError(f"width of the randomisation must be within 0..1, not {width}")
            uniform = np.where(self._narrowed, 0.5 + width * (uniform - 0.5), uniform)
        numbers = uniform.tolist()
        draw: Draw = {}
        start = 0
        for param, end in zip(self.params, self._ends, strict=True):
            name, distribution = param.name, param.distribution
            if fixed and name in fixed:
                draw[name] = fixed[name]
            elif isinstance(distribution, Derived):
                draw[name] = distribution.function(*[draw[need] for need in distribution.needs])
            else:
                draw[name] = distribution.sample(numbers[start:end])
            start = end
        return draw

    def apply(self, scene: Scene, draw: Mapping[str, Any]) -> None:
        """Write `draw` into `scene.model`, from nominal values: nothing of an earlier draw is left.

        A `Twin` must be made after this, since it reads the model as it starts.
        """
        self._check(draw)
        self._write(scene, self._applied, draw)

    def restore(self, scene: Scene) -> None:
        """Give `scene.model` its nominal values back, whichever randomiser changed them."""
        self._write(scene, (), {})

    def _write(self, scene: Scene, writers: Sequence[tuple[str, Any]], draw: Mapping[str, Any]) -> None:
        if self._scratch is None or self._scratch[0] is not scene.model:
            data = mujoco.MjData(scene.model)
            self._scratch = (scene.model, data, _ModelFields(scene.model, scene.nominal))
        model, data, fields = self._scratch
        for name, nominal in scene.nominal.items():
            fields[name][...] = nominal
        for name, write in writers:
            _apply(name, write, fields, draw[name])
        if _changes_constants(scene):
            mujoco.mj_setConst(model, data)

    def apply_batch(
        self,
        scene: Scene,
        batch: Any,
        draws: Sequence[Mapping[str, Any]],
        ids: Sequence[int] | None = None,
    ) -> None:
        """Write `draws[k]` into simulation `ids[k]` of a `mujoco.batch.Batch`; all of them by default.

        Expands the fields it writes; each simulation then has the model that `apply` would have made.
        """
        rows = range(batch.nsim) if ids is None else ids
        if len(rows) != len(draws):
            raise UsageError(f"apply_batch: {len(draws)} draws for {len(rows)} simulations")
        for draw in draws:
            self._check(draw)
        if self._batch is None or self._batch[0] is not batch:
            self._batch = (batch, _BatchFields(batch, scene))
        fields = self._batch[1]
        where = np.asarray(rows, dtype=np.intp)
        for name in list(scene.nominal):
            fields.whole(name)[where] = scene.nominal[name]
        for row, draw in zip(rows, draws, strict=True):
            fields.row = int(row)
            for name, write in self._applied:
                _apply(name, write, fields, draw[name])
        if _changes_constants(scene):
            batch.set_const(where)

    def explain(self, draw: Mapping[str, Any], groups: Collection[str] | None = None) -> list[str]:
        """One readable line a parameter: name, value, unit, distribution, what it is."""
        self._check(draw)
        shown = [p for p in self.params if groups is None or p.group in groups]
        width = max((len(p.name) for p in shown), default=0)
        return [
            f"{p.name:<{width}}  {_readable(draw[p.name])} {p.unit}  [{p.distribution.describe()}]  {p.doc}"
            for p in shown
        ]

    def _check(self, draw: Mapping[str, Any]) -> None:
        if draw.keys() == self._by_name.keys():
            return
        self._check_known(draw)
        missing = [name for name in self._by_name if name not in draw]
        raise UsageError(f"the draw lacks {', '.join(missing)}; it was made by another randomiser")

    def _check_known(self, draw: Mapping[str, Any]) -> None:
        for name in draw:
            if name not in self._by_name:
                raise UsageError(f"unknown randomisation parameter '{name}'{nearest(name, self._by_name)}")


class _Names:
    """Ids by name, looked up once; part of `Fields`."""

    def __init__(self, model: mujoco.MjModel) -> None:
        self._model = model
        self._ids: dict[tuple[int, str], int] = {}

    def body(self, name: str) -> int:
        return self._id(_OBJECT.mjOBJ_BODY, name)

    def geom(self, name: str) -> int:
        return self._id(_OBJECT.mjOBJ_GEOM, name)

    def joint(self, name: str) -> int:
        return self._id(_OBJECT.mjOBJ_JOINT, name)

    def material(self, name: str) -> int:
        return self._id(_OBJECT.mjOBJ_MATERIAL, name)

    def _id(self, kind: mujoco.mjtObj, name: str) -> int:
        key = (int(kind), name)
        found = self._ids.get(key)
        if found is None:
            found = self._ids[key] = mujoco.mj_name2id(self._model, *key)
            if found < 0:
                raise UsageError(f"the scene has no {kind.name[6:].lower()} called '{name}'")
        return found


class _ModelFields(_Names):
    """`Fields` of one model, noting the nominal values of each on first use."""

    def __init__(self, model: mujoco.MjModel, nominal: dict[str, np.ndarray]) -> None:
        super().__init__(model)
        self._nominal = nominal
        self._arrays: dict[str, np.ndarray] = {}

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._arrays.get(name)
        if array is None:
            array = self._arrays[name] = model_field(self._model, name)
            if name not in self._nominal:
                self._nominal[name] = array.copy()
        return array


class _BatchFields(_Names):
    """`Fields` of a batch: rows of its expanded arrays; `row` is the simulation that is written."""

    def __init__(self, batch: Any, scene: Scene) -> None:
        super().__init__(scene.model)
        self._batch = batch
        self._nominal = scene.nominal
        self._whole: dict[str, np.ndarray] = {}
        self.row = 0

    def whole(self, name: str) -> np.ndarray:
        """All simulations' values of a field, (nsim, ...), at nominal when first asked for."""
        array = self._whole.get(name)
        if array is None:
            nominal = self._nominal.get(name)
            if nominal is None:
                nominal = self._nominal[name] = model_field(self._model, name).copy()
            array = self._whole[name] = self._batch.expand(name)
            array[...] = nominal
        return array

    def __getitem__(self, name: str) -> np.ndarray:
        return self.whole(name)[self.row]


def model_field(model: mujoco.MjModel, name: str) -> np.ndarray:
    """The live array `name` of `model` ("body_mass", "opt.gravity"); raises `UsageError` if there is none."""
    holder: Any = model
    for part in name.split("."):
        holder = getattr(holder, part, None)
    if not isinstance(holder, np.ndarray):
        raise UsageError(f"MuJoCo models have no array field '{name}'")
    return holder


def _changes_constants(scene: Scene) -> bool:
    return CONSTANT_INPUTS is None or not CONSTANT_INPUTS.isdisjoint(scene.nominal)


def _apply(name: str, write: Any, fields: Any, value: Any) -> None:
    try:
        write(fields, value)
    except (ValueError, TypeError, IndexError) as error:
        raise UsageError(f"randomisation parameter '{name}': cannot apply {value!r} ({error})") from error


def _in_order(params: Sequence[Param]) -> tuple[Param, ...]:
    """`params` so that each stands after what it needs, otherwise in the order given."""
    by_name: dict[str, Param] = {}
    for param in params:
        if param.name in by_name:
            raise UsageError(f"two randomisation parameters are called '{param.name}'")
        by_name[param.name] = param
    order: dict[str, Param] = {}
    path: list[str] = []

    def visit(name: str) -> None:
        if name in order:
            return
        if name in path:
            raise UsageError(f"randomisation parameters need each other: {' -> '.join([*path, name])}")
        path.append(name)
        for need in by_name[name].all_needs:
            if need not in by_name:
                raise UsageError(f"randomisation parameter '{name}' needs '{need}'{nearest(need, by_name)}")
            visit(need)
        path.pop()
        order[name] = by_name[name]

    for name in by_name:
        visit(name)
    return tuple(order.values())


def _readable(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_readable(v) for v in value) + "]"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    return str(value)
