"""The built book in a real browser.

It opens every page in both themes, on a desktop and on a phone, moves each slider, searches, and
runs axe. All network but the local server is cut off. ``DLOPT_BOOK`` names another build to test.
"""

import functools
import os
import threading
from collections.abc import Iterable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from execute import folder
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect

ROOT = Path(__file__).parents[1]
BOOK = Path(os.environ.get("DLOPT_BOOK", ROOT / "_build" / "html"))
FILES = sorted(
    path.relative_to(BOOK).as_posix()
    for path in BOOK.rglob("*.html")
    if path.relative_to(BOOK).parts[0] not in {"_static", "_sources"}
)
# What Sphinx makes by itself: lists of names and listings of source code.
MADE = {"genindex.html", "py-modindex.html", "search.html"}
PAGES = [name for name in FILES if name not in MADE and not name.startswith("_modules/")]
LESSONS = sorted(folder().glob("*.ipynb"))

SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}

# What axe may find, what it does not see, and why.
ALLOWED = {
    "region": "the theme shows the book's title outside of its landmarks",
    "empty-table-header": "a column of numbers, or of remarks, needs no heading",
}
SKIPPED = {
    "mjx-container": "MathJax has its own accessible form of every formula",
    ".citation-list": "docutils gives the bibliography's entries a role that has been deprecated",
    ".highlight": "its colours are the same everywhere: test_code_reads_well looks at one page",
    "dt.sig *": "as the line above",
}


class Quiet(SimpleHTTPRequestHandler):
    """A server without a log."""

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    """The address of the book on a local server."""
    handler = functools.partial(Quiet, directory=str(BOOK))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def screens(browser: Browser) -> Iterator[dict[str, BrowserContext]]:
    """A profile with a cache of its own for each screen."""
    contexts = {
        name: browser.new_context(viewport={"width": width, "height": height})
        for name, (width, height) in SCREENS.items()
    }
    yield contexts
    for context in contexts.values():
        context.close()


class Visit:
    """A page that was opened, and everything that went wrong meanwhile."""

    def __init__(self, context: BrowserContext, site: str, name: str) -> None:
        self.wrong: list[str] = []
        self.page: Page = context.new_page()
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.wrong.append(f"script: {error}"))
        self.page.on("requestfailed", lambda r: self.wrong.append(f"failed: {r.url[:200]}"))
        self.page.on(
            "response", lambda r: r.status < 400 or self.wrong.append(f"{r.status}: {r.url}")
        )
        self.page.on(
            "request",
            lambda r: r.url.startswith((site, "data:", "blob:")) or self.wrong.append(r.url),
        )
        self.page.goto(f"{site}/{name}", wait_until="load")
        self.page.evaluate("async () => { await window.MathJax?.startup?.promise }")
        self.page.evaluate("document.fonts.ready.then(() => true)")

    def choose(self, theme: str) -> None:
        """Prefer a light or a dark page, as the reader's system does."""
        self.page.emulate_media(color_scheme=theme, reduced_motion="reduce")
        self.page.wait_for_function(f"document.documentElement.dataset.theme === '{theme}'")
        # Chromium keeps the finished transitions of what is off the screen in this list.
        self.page.wait_for_function(
            "document.getAnimations().every((a) => a.playState === 'finished')"
        )

    def axe(self, skip: Iterable[str] = SKIPPED, **options: object) -> list[str]:
        """What axe has against the page, less what is allowed; the last that is done with it."""
        for selector in skip:  # axe's time grows with the page
            remove = "nodes => nodes.forEach((node) => node.remove())"
            self.page.locator(selector).evaluate_all(remove)
        options = {"preload": False, "resultTypes": ["violations"], **options}  # fetch nothing
        violations = Axe().run(self.page, options=options).response["violations"]
        return [
            f"{v['id']} ({v['impact']}): {v['nodes'][0]['html'][:160]}"
            for v in violations
            if v["id"] not in ALLOWED
        ]

    def _console(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.wrong.append(f"console: {message.text}")


@pytest.fixture
def visit(request: pytest.FixtureRequest, screens, site: str) -> Iterator[Visit]:
    name, screen = request.param
    visit = Visit(screens[screen], site, name)
    yield visit
    visit.page.close()


def each(pages: list[str], *screens: str):
    """Parametrize a test with pages on screens."""
    cases = [(name, screen) for name in pages for screen in screens]
    ids = [f"{name.removesuffix('.html')}-{screen}" for name, screen in cases]
    return pytest.mark.parametrize("visit", cases, ids=ids, indirect=True)


UNRENDERED = """() => [...document.querySelectorAll(".bd-article .math")]
    .filter((node) => !node.querySelector("mjx-container"))
    .map((node) => node.textContent)"""
MATH_ERRORS = """() => [...document.querySelectorAll("mjx-merror, [data-mjx-error]")]
    .map((node) => node.textContent)"""
BROKEN_IMAGES = """async () => {
    const images = [...document.images];
    images.forEach((image) => { image.loading = "eager" });
    await Promise.allSettled(images.map((image) => image.decode()));
    return images.filter((image) => !image.naturalWidth).map((image) => image.src.slice(0, 100));
}"""
TOO_WIDE = """() => {
    const width = document.documentElement.clientWidth;
    if (document.documentElement.scrollWidth <= width) return [];
    const scrolls = (node) => node && (
        ["auto", "scroll", "hidden"].includes(getComputedStyle(node).overflowX)
        || scrolls(node.parentElement.closest(".bd-main *")));
    return [...document.querySelectorAll(".bd-main *")]
        .filter((node) => node.getBoundingClientRect().right > width + 1)
        .filter((node) => !scrolls(node.parentElement.closest(".bd-main *")))
        .map((node) => node.tagName + "." + node.className).slice(0, 5);
}"""
OPEN_ALL = "() => document.querySelectorAll('details').forEach((node) => { node.open = true })"
# The longest line of every box of code that is wider than its box.
WIDE_CODE = """() => {
    const boxes = [...document.querySelectorAll(".bd-article pre")]
        .filter((box) => box.scrollWidth > box.clientWidth + 1);
    const longest = (lines) => lines.reduce((a, b) => (b.length > a.length ? b : a));
    return boxes.map((box) => longest(box.textContent.split("\\n")))
        .map((line) => `${line.length}: ${line.trim()}`);
}"""
# Tables in which code stands beside words, and the map of equations: nothing may hide at the right.
WIDE_TABLES = """() => [...document.querySelectorAll(".dlopt-table:has(code), .equation-map")]
    .map((node) => node.closest(".pst-scrollable-table-container") || node)
    .filter((node) => node.scrollWidth > node.clientWidth + 1)
    .map((node) => node.getAttribute("aria-label") || node.className)"""
# The smallest text of every picture, in the size at which it is shown.
TEXT_SIZES = """() => [...document.querySelectorAll("figure.dlopt-figure img")].map((image) =>
    [image.alt.slice(0, 60), Number(image.dataset.smallest)
        * image.getBoundingClientRect().width / Number(image.getAttribute("width"))])"""
CLIPPED_FORMULAS = """() => [...document.querySelectorAll("div.math > mjx-container")]
    .filter((node) => node.getBoundingClientRect().right
            > node.parentElement.getBoundingClientRect().right + 1
        || (node.scrollWidth > node.clientWidth + 1
            && !["auto", "scroll"].includes(getComputedStyle(node).overflowX)))
    .map((node) => node.parentElement.id || node.parentElement.textContent.slice(0, 60))"""


def check(visit: Visit) -> None:
    """What holds for every page on every screen in every theme."""
    page = visit.page
    assert page.evaluate(UNRENDERED) == []
    assert page.evaluate(MATH_ERRORS) == []
    assert page.evaluate(BROKEN_IMAGES) == []
    assert page.evaluate(TOO_WIDE) == []
    assert visit.wrong == []


@each(PAGES, "desktop")
def test_page_on_a_desktop(visit: Visit) -> None:
    for theme in ("light", "dark"):
        visit.choose(theme)
        check(visit)
    assert visit.axe(runOnly=["color-contrast"]) == []
    visit.choose("light")
    assert visit.axe() == []


@each(PAGES, "phone")
def test_page_on_a_phone(visit: Visit) -> None:
    for theme in ("dark", "light"):
        visit.choose(theme)
        check(visit)
    assert visit.axe(rules={"color-contrast": {"enabled": False}}) == []


@each(PAGES, "desktop")
def test_code_fits_into_its_column(visit: Visit) -> None:
    """The pages under ``_modules`` are left out: whole files, in their own 100 columns."""
    visit.page.evaluate(OPEN_ALL)
    assert visit.page.evaluate(WIDE_CODE) == []
    assert visit.page.evaluate(WIDE_TABLES) == []


@each(PAGES, "phone")
def test_pictures_and_formulas_can_be_read_on_a_phone(visit: Visit) -> None:
    visit.page.evaluate(OPEN_ALL)
    sizes = visit.page.evaluate(TEXT_SIZES)
    assert [(alt, size) for alt, size in sizes if not size >= 8.99] == []
    assert visit.page.evaluate(CLIPPED_FORMULAS) == []
    assert visit.page.evaluate(TOO_WIDE) == []


@each(["api_running.html"], "desktop")
def test_code_reads_well(visit: Visit) -> None:
    for theme in ("light", "dark"):
        visit.choose(theme)
        assert visit.axe(skip=["mjx-container"], runOnly=["color-contrast"]) == []


@each([name for name in FILES if name not in PAGES], "phone")
def test_made_page(visit: Visit) -> None:
    assert visit.page.evaluate(TOO_WIDE) == []
    assert visit.wrong == []


@each([f"notebooks/{path.stem}.html" for path in LESSONS], *SCREENS)
def test_sliders_move_their_pictures(visit: Visit) -> None:
    page = visit.page
    sliders = page.locator("figure:has(img) input[type=range]")
    assert sliders.count() == page.locator("input[type=range]").count()
    for slider in sliders.all():
        assert slider.is_visible()
        picture = slider.locator("xpath=ancestor::figure").locator("img")
        seen = []
        slider.focus()
        page.keyboard.press("Home")
        for _ in range(int(slider.get_attribute("max") or 0) + 1):
            seen.append(picture.get_attribute("src"))
            page.keyboard.press("ArrowRight")
        assert len(set(seen)) > 1, "no picture changes with the arrow keys"
        box = slider.bounding_box()
        assert box is not None
        by_mouse = []
        for place in (0.02, 0.98):
            slider.click(position={"x": place * box["width"], "y": box["height"] / 2})
            by_mouse.append(slider.input_value())
        assert by_mouse == ["0", slider.get_attribute("max")]
        assert page.evaluate(BROKEN_IMAGES) == []
    assert visit.wrong == []


LESSON = [f"notebooks/{path.stem}.html" for path in LESSONS][:1]
SEEN = """(nodes) => nodes.map((node) => node.checkVisibility()
    && node.getBoundingClientRect().height > 0)"""


@each(LESSON, "desktop")
def test_by_keyboard_one_meets_no_formula_and_sees_where_one_is(visit: Visit) -> None:
    page = visit.page
    assert page.locator("mjx-container").count() > 10
    assert page.locator("mjx-container[tabindex='0']").count() == 0
    for name in ("Toggle primary sidebar", "Download this page"):
        button = page.get_by_label(name).first
        button.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        assert button.evaluate("(node) => node.matches(':focus-visible')"), name
        assert button.evaluate("(node) => getComputedStyle(node).outlineStyle") == "solid", name


@each(LESSON, "desktop")
def test_a_printed_lesson_is_a_handout(visit: Visit) -> None:
    page = visit.page
    solutions = page.locator("section > details:not(.sd-dropdown)")

    def seen(selector: str) -> set[bool]:
        return set(page.locator(selector).evaluate_all(SEEN))

    visit.choose("dark")
    for folded in (solutions, page.locator(".dlopt-predict details")):
        folded.first.evaluate("(node) => { node.open = true }")
    page.emulate_media(media="print", color_scheme="dark", reduced_motion="reduce")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    colours = page.evaluate("""() => ["backgroundColor", "color"].map((name) =>
        getComputedStyle(document.body)[name].match(/\\d+/g).map(Number))""")
    assert min(colours[0]) > 240 and max(colours[1]) < 60
    for gone in (".bd-sidebar-primary", ".bd-sidebar-secondary", ".bd-header-article"):
        assert seen(gone) <= {False}, gone
    assert seen("section > details:not(.sd-dropdown) > :not(summary)") == {False}
    assert seen(".dlopt-predict :is(legend, summary)") == {True}
    assert seen(".dlopt-predict details > :not(summary)") == {False}
    assert page.evaluate(TOO_WIDE) == []

    page.evaluate("() => { location.hash = '#print-solutions' }")
    for solution in solutions.all():
        expect(solution).to_have_attribute("open", "")
    assert True in seen("section > details:not(.sd-dropdown) pre")
    page.emulate_media(media="screen", color_scheme="dark", reduced_motion="reduce")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")


@each(["search.html?q=newton"], "desktop")
def test_search_leads_to_the_pages(visit: Visit) -> None:
    results = visit.page.locator("#search-results li a")
    results.first.wait_for()
    found = {a.get_attribute("href") or "" for a in results.all()}
    assert any(url.startswith("notebooks/newton.html") for url in found)
    assert [url for url in found if not (BOOK / urlsplit(url).path).is_file()] == []
    assert visit.wrong == []


@each(["claims.html"], *SCREENS)
def test_claims_are_filtered_by_keyboard(visit: Visit) -> None:
    page = visit.page
    claims, shown = page.locator(".claims-lesson .claim"), page.locator(".claim:visible")
    total = claims.count()
    assert shown.count() == total > 0
    verdict, lesson = page.get_by_label("Verdict"), page.get_by_label("Lesson")
    counts = []
    for select in (verdict, lesson):
        select.focus()
        for _ in range(select.locator("option").count() - 1):
            page.keyboard.press("ArrowDown")
            promised = select.locator("option:checked").inner_text()
            assert promised.endswith(f"({shown.count()})")
            counts.append(shown.count())
            assert page.locator(".claims-filter output").inner_text().startswith(f"{counts[-1]} of")
        select.select_option("")
        assert shown.count() == total
    assert sum(counts) == 2 * total  # every claim has one verdict and one lesson
    # A link of the picture to a claim that is filtered away takes the filter away.
    verdict.select_option(index=1)
    hidden = page.locator(".claims-lesson .claim:not(:visible)").first.get_attribute("id")
    page.locator(f'.claims-grid a[href="#{hidden}"]').click()
    assert page.locator(f"[id='{hidden}']").is_visible()
    assert page.locator(f"[id='{hidden}']").evaluate("node => node.matches(':target')")
    assert visit.wrong == []


def test_claims_page_without_scripts_or_server(browser: Browser) -> None:
    page = browser.new_page(java_script_enabled=False)
    page.goto((BOOK / "claims.html").as_uri())
    assert page.locator(".claims-lesson .claim:visible").count() == len(
        page.locator(".claims-grid a").all()
    )
    assert not page.locator(".claims-filter").is_visible()
    page.close()
    page = browser.new_page()
    page.goto((BOOK / "claims.html").as_uri())
    page.get_by_label("Verdict").select_option(index=1)
    assert page.locator(".claims-lesson .claim:visible").count() > 0
    page.close()
