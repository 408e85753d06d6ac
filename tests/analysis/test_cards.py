"""Cards of datasets: as a part of the report and as pages of their own."""

from __future__ import annotations

import io
import re
import shutil
import subprocess
from collections.abc import Callable
from html import escape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from markdown_it import MarkdownIt
from PIL import Image

from analysis.report import write_report
from harness.pages.cards import class_counts, write_card_page

if TYPE_CHECKING:
    from tests.analysis.conftest import RunBuilder

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HOSTILE = "<script>alert('1')<b> a|b $x$ [y](javascript:z) `c` & \"quoted\" ]]>"


class Tags(HTMLParser):
    """Tags with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def of(self, name: str) -> list[dict[str, str | None]]:
        return [attributes for tag, attributes in self.found if tag == name]


def png(width: int = 620, height: int = 90) -> bytes:
    stream = io.BytesIO()
    Image.new("RGBA", (width, height), (90, 20, 20, 255)).save(stream, format="PNG")
    return stream.getvalue()


def card(name: str = "square", leaking: bool = True, **changes: Any) -> dict[str, Any]:
    pair = {"first": f"a/{name}", "second": "b/2", "sides": ["test", "train"], "labels": ["disc", name]}
    counted = {"pairs": 1, "straddling": 1, "test": 1, "conflicting": 1}
    return {
        "name": "shapes",
        "title": "Made-up shapes",
        "summary": f"Shapes {name}",
        "modality": "drawing",
        "licence": "CC0",
        "citation": "Nobody (2026)",
        "classes": ["disc", name],
        "multi_label": False,
        "images": 300,
        "image_size": 64,
        "resize": "squashed",
        "fingerprint": "f00d",
        "split": {"kind": "random", "seed": 0, "digest": "abcd"},
        "sides": {"train": 180, "val": 48, "test": 72},
        "counts": {"train": [120, 60], "val": [32, 16], "test": [60, 12]},
        "groups": 100,
        "identical": {"sets": 1, "images": 2},
        "clusters": 99,
        "notes": [f"{name}: turned"],
        "pictured": 2,
        "leaks": {"any": leaking, "sentence": "3 patients stand on two sides"},
        "allow_leakage": None,
        "audit": {
            "kinds": {"identical": counted, "near": counted},
            "worst": [{**pair, "kind": "near", "similarity": 0.9876}],
            "random_pairs": 1000,
            "false_alarms": 2,
            "notes": [f"Not looked at: {name}."],
        },
        **changes,
    }


@pytest.mark.usefixtures("no_figures")
def test_the_report_shows_the_grid_the_leak_and_the_users_reason(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["a b", "a_b"])
    made.run.write_card("a b", card(allow_leakage="to compare with Doe 2019", audit=None), png())
    made.run.write_card("a_b", card(leaking=False, audit=None), png(100, 50))

    paths = write_report(made.run)

    html, markdown = paths.html.read_text(), paths.markdown.read_text()
    for text in (html, markdown):
        assert "The split leaks: 3 patients stand on two sides." in text
        assert "with this reason: to compare with Doe 2019" in text
        assert "No leak was found: no identical images and no patient or lesion stand on more than one side." in text
        assert text.count("python -m harness.data shapes --audit") == 2
    images = Tags(html).of("img")
    assert [(image["width"], image["height"]) for image in images] == [("620", "90"), ("100", "50")]
    policy = next(meta["content"] for meta in Tags(html).of("meta") if meta.get("http-equiv"))
    assert policy is not None and "img-src data:" in policy
    assert policy.count("script-src 'sha256-") == policy.count("script") == 1
    rendered = Tags(MarkdownIt("commonmark").enable("table").render(markdown))
    linked = [paths.markdown.parent / str(image["src"]) for image in rendered.of("img")]
    assert [path.read_bytes() for path in linked] == [png(), png(100, 50)]


@pytest.mark.usefixtures("no_figures")
def test_a_card_of_an_older_version_is_shown_as_far_as_it_goes(builder: Callable[..., RunBuilder]) -> None:
    made = builder(["probe"], ["alpha"])
    made.card("alpha")

    text = write_report(made.run).markdown.read_text()

    assert "alpha: images by class and side of the split" in text
    assert "leak" not in text and "None" not in text


def test_a_page_of_its_own_escapes_every_word_of_the_user(tmp_path: Path) -> None:
    page = write_card_page(tmp_path, HOSTILE, card(HOSTILE), png(), png(), {"split.csv": "sides"})

    for text in (page.read_text(), MarkdownIt("commonmark").enable("table").render((tmp_path / "card.md").read_text())):
        tags = Tags(text)
        assert not {"b", "a"} & {tag for tag, _ in tags.found}
        # The page's own script, which sorts tables.
        assert [attributes for tag, attributes in tags.found if tag == "script"] in ([], [{}])
        assert not [name for _, attributes in tags.found for name in attributes if name.startswith("on")]
        alternatives = [str(image["alt"]) for image in tags.of("img")]
        assert len(alternatives) == 2 and HOSTILE in alternatives[0]
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in Tags(page.read_text()).of("img"))


def test_the_same_card_gives_the_same_page(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        write_card_page(folder, "shapes", card(), png(), png(), {})
        contents.append({path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")})

    assert contents[0] == contents[1]
    assert sorted(map(str, contents[0])) == [
        "card.html",
        "card.json",
        "card.md",
        "figures/pairs.png",
        "figures/sample.png",
    ]


def test_shares_are_of_images_even_where_one_bears_several_classes() -> None:
    several = card(
        multi_label=True,
        sides={"train": 100, "val": 20, "test": 0},
        counts={"train": [100, 50], "val": [5, 20], "test": [0, 0]},
    )

    table = class_counts("x", several)

    ((_, rows),) = table.groups
    assert rows[0] == ("disc", "100", "5", "0", "105", "100.0", "25.0", "n/a", "87.5")
    assert rows[2] == ("All images", "100", "20", "0", "120", "100.0", "100.0", "n/a", "100.0")
    assert "each class that it bears" in table.note


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine")
@pytest.mark.parametrize("width", [400, 1200])
def test_a_card_never_scrolls_sideways(tmp_path: Path, width: int) -> None:
    page = write_card_page(tmp_path, "shapes", card("x" * 90), png(620, 800), png(616, 2000), {"split.csv": "sides"})
    frame = tmp_path / "frame.html"
    frame.write_text(
        f'<iframe id="f" style="border:0" width="{width}" height="800" srcdoc="{escape(page.read_text())}"></iframe>'
        '<p id="out"></p><script>document.getElementById("f").onload = e => {'
        "const d = e.target.contentDocument, images = [...d.images];"
        "document.getElementById('out').textContent = `page=${d.documentElement.scrollWidth} "
        "images=${images.filter(i => i.complete && i.naturalWidth > 0).length}`}</script>"
    )
    assert CHROMIUM is not None
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--dump-dom", "--virtual-time-budget=5000"]
    seen = subprocess.run([CHROMIUM, *options, frame.as_uri()], capture_output=True, text=True, timeout=120).stdout
    measured = re.search(r'<p id="out">page=(\d+) images=(\d+)', seen)

    assert measured is not None
    assert int(measured[1]) <= width
    assert int(measured[2]) == 2, "the page's own policy lets its pictures be shown"
