from __future__ import annotations

import itertools
import re
import subprocess
import sys
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from reports.formats.plotting import (
    COLOURS,
    FONT,
    INK,
    LOSE,
    MARKERS,
    ON_COLOUR,
    TIE,
    WIN,
    Drawing,
    are_iterations,
    render,
    series_of,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

NS = {"svg": "http://www.w3.org/2000/svg"}
HOSTILE = '</text><script>alert("x")</script> & $\\frac{1}{0}$ <!-- ]]> {{ 7*7 }}'


def drawing(label: str = "a label") -> object:
    def draw(canvas: Canvas) -> None:
        axes = canvas.add_subplot()
        axes.plot([0, 1, 2], [0, 4, 1], marker="o", color=COLOURS[0], label=label)
        axes.set_ylabel(label)
        axes.set_xticks([0, 1, 2], [label, "b", "c"])
        axes.fill_between([0, 1, 2], [0, 4, 1], color=COLOURS[1], clip_on=True)

    return draw


def svg(key: str = "one", label: str = "a label", description: str = "what it shows") -> str:
    return drawn(key, label, description).svg


def drawn(key: str = "one", label: str = "a label", description: str = "what it shows") -> Drawing:
    return render(key, drawing(label), title="A title", description=description, height=2)  # type: ignore[arg-type]


def texts(found: str) -> list[str]:
    return [node.text or "" for node in ET.fromstring(found).iter(f"{{{NS['svg']}}}text")]


def test_the_same_drawing_gives_the_same_bytes() -> None:
    assert drawn() == drawn()


def test_the_pdf_is_one_vector_page_without_a_date_or_type_3_fonts() -> None:
    pdf = drawn(label="plain words").pdf
    assert pdf.startswith(b"%PDF-")
    assert pdf.count(b"/Type /Page ") == 1
    for absent in (b"CreationDate", b"/Subtype /Image", b"/Type3"):
        assert absent not in pdf


def test_a_hostile_label_has_a_pdf_too() -> None:
    assert drawn(label=HOSTILE + " null\x00 smile \U0001f600 漢").pdf.startswith(b"%PDF-")


def test_another_process_draws_the_same_bytes() -> None:
    code = (
        "import sys; from tests.reports.formats.test_plotting import svg; sys.stdout.write(svg())"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert run.stdout == svg()


def test_settings_of_the_user_do_not_change_a_figure_and_stay_as_they_were() -> None:
    before = svg()
    theirs = {"lines.linewidth": 9.0, "xtick.major.size": 20.0}
    with mpl.rc_context(theirs):  # type: ignore[arg-type]
        assert svg() == before
        assert {name: mpl.rcParams[name] for name in theirs} == theirs  # type: ignore[index]


def test_pyplot_and_its_global_figures_are_not_loaded() -> None:
    code = (
        "import sys; from tests.reports.formats.test_plotting import svg; svg(); "
        "sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_figure_is_an_element_and_not_a_document() -> None:
    found = svg()
    assert found.startswith("<svg ")
    assert found.endswith("</svg>\n")
    # A second prolog, a document type, a style for the whole page and a date would do harm there.
    for part in ("<?xml", "<!DOCTYPE", "<style", "<metadata", "<!--"):
        assert part not in found
    assert ET.fromstring(found).tag == "{http://www.w3.org/2000/svg}svg"


def test_words_of_models_are_escaped_and_are_no_formulas() -> None:
    found = svg(label=HOSTILE, description=HOSTILE)
    root = ET.fromstring(found)
    assert HOSTILE in texts(found)
    assert {node.tag.rpartition("}")[2] for node in root.iter()}.isdisjoint({"script", "tspan"})
    described = root.find("svg:desc", NS)
    assert described is not None
    assert described.text == HOSTILE


def test_characters_that_xml_cannot_hold_are_replaced() -> None:
    found = svg(label="bell\x07 null\x00 smile \U0001f600 漢", description="\x1b[0m")
    assert "bell\ufffd null\ufffd smile \U0001f600 漢" in texts(found)


def test_text_stays_text_in_the_fonts_of_the_page() -> None:
    found = svg()
    assert "a label" in texts(found)
    families = set(re.findall(r"font-family: ([^;\"]*)", found))
    assert families == {FONT}


def test_ink_is_the_colour_of_the_page() -> None:
    found = svg()
    assert INK not in found
    styles = [n.get("style", "") for n in ET.fromstring(found).iter(f"{{{NS['svg']}}}text")]
    assert styles
    assert all("fill: currentColor" in style for style in styles)
    # Nothing is painted behind the figure.
    assert "#ffffff" not in found
    assert "fill: white" not in found


def test_words_that_look_like_our_marks_are_left_alone() -> None:
    words = f'{INK} font-family: Comic; id="x" url(#y)'
    assert words in texts(svg(label=words))


def test_two_figures_on_one_page_share_no_id_and_all_references_resolve() -> None:
    ids = []
    for key in ("one", "two"):
        found = svg(key)
        own = re.findall(r' id="([^"]*)"', found)
        wanted = re.findall(r'url\(#([^)]*)\)|href="#([^"]*)"', found)
        assert own
        assert wanted
        assert {a or b for a, b in wanted} <= set(own)
        assert all(name.startswith(f"{key}-") for name in own)
        ids += own
    assert len(ids) == len(set(ids))


def test_a_figure_says_its_title_and_shrinks_with_the_page() -> None:
    root = ET.fromstring(svg())
    assert (root.get("role"), root.get("aria-label")) == ("img", "A title")
    # 6.4 inches are 460.8 units of the view and 614 pixels.
    assert (root.get("viewBox"), root.get("width")) == ("0 0 460.8 144", "614")
    assert "max-width: 100%" in (root.get("style") or "")


@pytest.mark.parametrize("key", ["", "a b", 'x"onload="y', "eval/M1"])
def test_keys_that_cannot_be_part_of_an_id_are_refused(key: str) -> None:
    with pytest.raises(ValueError, match="figure key"):
        svg(key)


def luminance(colour: str) -> float:
    """WCAG 2.1's relative luminance."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_contrast_of_black_and_white_is_21() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21)
    assert contrast(TIE, TIE) == 1


@pytest.mark.parametrize("colour", COLOURS)
def test_every_colour_can_be_seen_on_a_light_and_on_a_dark_page(colour: str) -> None:
    # WCAG 2.1, 1.4.11: graphical objects need a contrast of 3.
    assert min(contrast(colour, "#ffffff"), contrast(colour, "#15181c")) >= 3


@pytest.mark.parametrize("colour", [WIN, TIE, LOSE])
def test_numbers_in_bars_can_be_read(colour: str) -> None:
    assert contrast(colour, ON_COLOUR) >= 4.5


def deuteranope(colour: str) -> tuple[float, ...]:
    """Return a colour as seen without green cones (Viénot, Brettel and Mollon 1999, simplified)."""
    r, g, b = ((int(colour[at : at + 2], 16) / 255) ** 2.2 for at in (1, 3, 5))
    red_green = 0.29275 * r + 0.70725 * g
    return red_green, -0.02234 * r + 0.02234 * g + b


@pytest.mark.parametrize(("one", "other"), list(itertools.combinations([WIN, TIE, LOSE], 2)))
def test_win_tie_and_loss_differ_without_green_cones(one: str, other: str) -> None:
    distance = sum((a - b) ** 2 for a, b in zip(deuteranope(one), deuteranope(other), strict=True))
    # Equal colours: 0; red and green of equal lightness: under 0.01.
    assert distance**0.5 > 0.1


def test_a_model_looks_the_same_whatever_stands_beside_it() -> None:
    all_five = series_of(["M0", "sft", "M1", "M2", "M3"])
    assert series_of(["M2", "other"])["M2"] == all_five["M2"]
    assert all_five["sft"].name == "SFT"


def test_no_two_models_share_colour_or_marker() -> None:
    found = series_of(["M0", "sft", "M1", "M2", "gpt-x", "M3", "claude"]).values()
    assert len({s.colour for s in found}) == len({s.marker for s in found}) == 7
    assert len(set(MARKERS)) == len(COLOURS)


def test_only_trained_iterations_form_a_sequence() -> None:
    names = ["M0", "sft", "M1", "M2", "Mistral", "M"]
    assert are_iterations(names) == [False, False, True, True, False, False]
