"""One self-contained HTML report: figures, tables, charts, pictures. Opens offline, at most 1 MB."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

import cv2
import numpy as np

from .. import __version__
from ..data.disk import replace_durably
from ..robot.clock import wall_time
from ..robot.errors import TwinloopError
from ..robot.types import U8
from .charts import Chart, svg

LIMIT_BYTES = 1_000_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A key figure; `ok` says whether its target was met."""

    label: str
    value: str
    note: str = ""
    ok: bool | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture with its caption; `zoom` enlarges small ones without smoothing."""

    rgb: U8  # (h, w, 3)
    caption: str = ""
    zoom: float = 1.0


class Report:
    """Collects sections in order; `write` makes the file."""

    def __init__(self, title: str, subtitle: str = "") -> None:
        self._title = title
        self._subtitle = subtitle
        self._parts: list[str] = []

    def heading(self, text: str) -> None:
        self._parts.append(f"<h2>{escape(text)}</h2>")

    def text(self, text: str) -> None:
        """A paragraph; blank lines part paragraphs."""
        for paragraph in text.split("\n\n"):
            self._parts.append(f"<p>{escape(paragraph)}</p>")

    def command(self, text: str) -> None:
        """A line for a terminal."""
        self._parts.append(f"<pre>{escape(text)}</pre>")

    def figures(self, figures: Sequence[Figure]) -> None:
        """A row of key figures."""
        cells = []
        for figure in figures:
            mark = "" if figure.ok is None else ("met" if figure.ok else "missed")
            badge = f'<span class="badge {mark}">{mark}</span>' if mark else ""
            cells.append(
                f'<div class="key"><b>{escape(figure.value)}</b><span>{escape(figure.label)}</span>'
                f"<small>{escape(figure.note)}</small>{badge}</div>"
            )
        self._parts.append(f'<div class="keys">{"".join(cells)}</div>')

    def table(self, caption: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        """A table; numbers are aligned right, and so are the names of their columns."""
        rows = list(rows)
        first = rows[0] if rows else [""] * len(columns)
        head = "".join(
            f"<th{_align(cell)}>{escape(str(c))}</th>" for c, cell in zip(columns, first, strict=True)
        )
        body = "".join(
            "<tr>" + "".join(f"<td{_align(cell)}>{escape(_shown(cell))}</td>" for cell in row) + "</tr>"
            for row in rows
        )
        self._parts.append(
            f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>'
            f"<tbody>{body}</tbody></table></div>"
        )

    def chart(self, chart: Chart) -> None:
        self._parts.append(svg(chart))

    def charts(self, charts: Sequence[Chart]) -> None:
        """Charts side by side where there is room."""
        self._parts.append(f'<div class="grid2">{"".join(svg(c) for c in charts)}</div>')

    def images(self, pictures: Sequence[Picture], quality: int = 82) -> None:
        """A grid of pictures, embedded as JPEG."""
        cells = []
        for picture in pictures:
            ok, data = cv2.imencode(
                ".jpg", np.ascontiguousarray(picture.rgb[..., ::-1]), [cv2.IMWRITE_JPEG_QUALITY, quality]
            )
            if not ok:
                raise TwinloopError(f"report: cannot encode the picture '{picture.caption}'")
            height, width = picture.rgb.shape[:2]
            cells.append(
                f'<figure class="shot"><img loading="lazy" width="{width * picture.zoom:.0f}" '
                f'height="{height * picture.zoom:.0f}" alt="{escape(picture.caption)}" '
                f'src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'
                f"<figcaption>{escape(picture.caption)}</figcaption></figure>"
            )
        self._parts.append(f'<div class="shots">{"".join(cells)}</div>')

    def details(self, summary: str, text: str) -> None:
        """A block that opens on a click."""
        self._parts.append(
            f"<details><summary>{escape(summary)}</summary><pre>{escape(text)}</pre></details>"
        )

    def link(self, text: str, target: str) -> None:
        """A link to a file beside the report."""
        self._parts.append(f'<p><a href="{escape(target, quote=True)}">{escape(text)}</a></p>')

    def html(self) -> str:
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width,initial-scale=1">'
            f"<title>{escape(self._title)}</title><style>{_CSS}</style></head><body><main>"
            f"<header><h1>{escape(self._title)}</h1><p>{escape(self._subtitle)}</p></header>"
            f"{''.join(self._parts)}"
            f"<footer>Twinloop {__version__}, {wall_time()}</footer></main></body></html>"
        )

    def write(self, path: Path) -> Path:
        """Write the report; raises `TwinloopError` when it is larger than 1 MB."""
        data = self.html().encode()
        if len(data) > LIMIT_BYTES:
            raise TwinloopError(
                f"{path}: the report would have {len(data) / 1e6:.2f} MB, limit {LIMIT_BYTES / 1e6:.0f} MB; "
                "use fewer or smaller pictures"
            )
        replace_durably(path, lambda temporary: temporary.write_bytes(data))
        return path


def _shown(cell: object) -> str:
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def _align(cell: object) -> str:
    number = isinstance(cell, int | float) and not isinstance(cell, bool)
    return ' class="n"' if number or cell == "-" else ""  # "-": no number there


# Long lines: style sheet.
# ruff: noqa: E501
_CSS = """
:root{color-scheme:light dark;--ink:#1c2430;--soft:#5c6775;--line:#dfe4ea;--card:#f5f7fa;--page:#fff;--link:#2f6fde}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--soft:#98a3b3;--line:#323a46;--card:#1c222b;--page:#13171d;
--link:#7aa7ff}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}h1{font-size:1.7rem;margin:0}
h2{font-size:1.15rem;margin:2.2rem 0 .6rem;padding-top:.6rem;border-top:1px solid var(--line)}
header p,footer,small,.note{color:var(--soft)}header p{margin:.2rem 0 1.2rem}footer{margin-top:3rem;font-size:.85rem}
a{color:var(--link)}p{max-width:72ch}
.keys{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px;margin:1rem 0}
.key{background:var(--card);border:1px solid var(--line);border-radius:10px;padding:12px 14px;display:flex;
flex-direction:column;position:relative}.key b{font-size:1.5rem;line-height:1.25;font-variant-numeric:tabular-nums}
.key small{font-size:.8rem}.badge{position:absolute;top:12px;right:12px;font-size:.72rem;padding:1px 8px;
border-radius:9px;color:#fff}.badge.met{background:#23875a}.badge.missed{background:#c2402e}
.scroll{overflow-x:auto}table{border-collapse:collapse;margin:.8rem 0;font-size:.92rem;min-width:50%}
caption{text-align:left;color:var(--soft);padding-bottom:4px}th,td{padding:5px 12px;border-bottom:1px solid
var(--line);text-align:left;white-space:nowrap}th{white-space:normal;vertical-align:bottom;max-width:8.5em}.n{text-align:right}td.n{font-variant-numeric:tabular-nums}
figure{margin:.8rem 0;max-width:680px}figcaption{font-size:.85rem;color:var(--soft);margin-bottom:4px}
svg{width:100%;height:auto;display:block}.grid{stroke:var(--line)}.tick,.axis{font:11px system-ui;fill:var(--soft)}
.legend{display:flex;flex-wrap:wrap;gap:4px 16px;font-size:.82rem;color:var(--soft)}
.legend i{display:inline-block;width:14px;height:3px;margin-right:6px;vertical-align:middle}
.grid2{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:8px 24px}
.shots{display:flex;flex-wrap:wrap;gap:10px}.shot{margin:0}.shot img{image-rendering:pixelated;border-radius:6px;
display:block;max-width:100%;height:auto}.shot figcaption{margin-top:3px;font-size:.78rem}
pre{overflow:auto;background:var(--card);padding:12px;border-radius:8px;font-size:.8rem;max-height:420px}
details{margin:.8rem 0}summary{cursor:pointer;color:var(--link)}
@media print{details{display:none}h2{break-after:avoid}figure{break-inside:avoid}}
""".replace("\n", "")
