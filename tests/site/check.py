"""Opens every page of the site in a headless Chromium, as a reader would: `make docs-check`. Not part of `make test`.

Needs chromium and chromedriver (Debian: chromium, chromium-driver) and selenium, of the extra `docs`. Each problem is one
line; the exit status is 1 when there was one. The browser can reach nothing but the pages themselves.
"""

import argparse
import json
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urldefrag

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

ROOT = Path(__file__).resolve().parent.parent.parent
WINDOWS = {"desktop": (1280, 900), "phone": (390, 844)}
# What is looked for, and the page that has to be among the results; the last is nowhere.
SEARCHES = {
    "Plackett": "notebooks/08_rankdistil.html",
    "Cochran": "api/rdcore.eval.significance.html",
    "target_ranks": "api/rdcore.eval.metrics.html",
    "own data": "docs/your-data.html",
    "RDSettings": "api/rdcore.distill.rd.html",
    "zyxwvut": None,
}
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)  # fmt: skip
# Mathematics is set when the page is complete; then everything is asked at once.
LOOK = """
const done = arguments[arguments.length - 1];
const all = (selector) => [...document.querySelectorAll(selector)];
const look = () => done({
  title: document.title,
  ids: all('[id]').map((element) => element.id),
  links: all('a[href]').map((link) => link.href),
  images: all('img').map((image) => [image.getAttribute('src'), image.naturalWidth, image.getBoundingClientRect().width]),
  figures: all('.cell_output img').length,
  displays: all('div.math').length,
  equations: all('mjx-container').length,
  unset: all('.math').filter((math) => !math.querySelector('mjx-container')).map((math) => math.textContent),
  wrong: all('mjx-merror, [data-mjx-error]').map((math) => math.textContent)
    .concat(all('.text_html').map((table) => table.innerText).filter((text) => text.includes('$'))),
  wide: Math.max(...all('html, .content').map((box) => box.scrollWidth - box.clientWidth)),
});
if (window.MathJax && MathJax.startup) { MathJax.startup.promise.then(look, look); } else { look(); }
"""


@contextmanager
def served(site: Path) -> Iterator[str]:
    """The address under which ``site`` is served on this machine."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *args) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/"
    finally:
        server.shutdown()
        server.server_close()


@contextmanager
def chromium() -> Iterator[webdriver.Chrome]:
    """A browser that knows nothing, and forgets everything."""
    browser, driver = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
    if browser is None or driver is None:
        raise SystemExit("chromium or chromedriver is missing: install both (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    with tempfile.TemporaryDirectory() as profile:
        for flag in (*FLAGS, f"--user-data-dir={profile}"):
            options.add_argument(flag)
        chrome = webdriver.Chrome(options, Service(driver))
        try:
            chrome.get("about:blank")
            chrome.get_log("performance")  # what its own first page asked for
            yield chrome
        finally:
            chrome.quit()


def look(chrome: webdriver.Chrome, address: str, home: str) -> tuple[dict, list[str]]:
    """What is on a page, and what is wrong with it in any window."""
    chrome.get(address)
    seen = chrome.execute_async_script(LOOK)
    problems = console(chrome) + requests(chrome, home)
    problems += [f"picture {name} is not there" for name, natural, _ in seen["images"] if natural == 0]
    problems += [f"picture {name} is not to be seen" for name, natural, shown in seen["images"] if natural and not shown]
    problems += [f"mathematics is not set: {text.strip()[:80]}" for text in seen["unset"]]
    problems += [f"mathematics is wrong: {text.strip()[:80]}" for text in seen["wrong"]]
    if seen["wide"] > 1:
        problems.append(f"{seen['wide']} pixels wider than the window")
    return seen, problems


def console(chrome: webdriver.Chrome) -> list[str]:
    """Errors since the last call."""
    return [f"console: {entry['message']}" for entry in chrome.get_log("browser") if entry["level"] == "SEVERE"]


def requests(chrome: webdriver.Chrome, home: str) -> list[str]:
    """What the page asked for since the last call and did not get, or should not have asked for."""
    problems = []
    for entry in chrome.get_log("performance"):
        event = json.loads(entry["message"])["message"]
        said = event["params"]
        if event["method"] == "Network.requestWillBeSent" and not said["request"]["url"].startswith((home, "data:", "blob:")):
            problems.append(f"asks for {said['request']['url'][:100]}")
        if event["method"] == "Network.responseReceived" and said["response"]["status"] >= 400:
            problems.append(f"{said['response']['status']} for {said['response']['url']}")
        if event["method"] == "Network.loadingFailed" and not said.get("canceled"):
            problems.append(f"not loaded: {said.get('errorText')}")
    return problems


def resize(chrome: webdriver.Chrome, window: str) -> None:
    width, height = WINDOWS[window]
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": window == "phone"}
    chrome.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def same_as_notebook(page: str, seen: dict) -> list[str]:
    """Differences between a notebook's page and the committed notebook: figures and displayed equations that are missing."""
    cells = json.loads((ROOT / page).with_suffix(".ipynb").read_text(encoding="utf-8"))["cells"]
    outputs = [output.get("data", {}) for cell in cells if cell["cell_type"] == "code" for output in cell["outputs"]]
    figures = sum("image/png" in data for data in outputs)
    displays = sum("".join(cell["source"]).count("$$") for cell in cells if cell["cell_type"] == "markdown") // 2
    found = {"figures": (seen["figures"], figures), "equations": (seen["displays"], displays)}
    return [f"{shown} {what} of the notebook's {there}" for what, (shown, there) in found.items() if shown != there]


def dead_links(pages: dict[str, dict], site: Path, home: str) -> Iterator[tuple[str, str]]:
    """(page, what is wrong) for each link inside the site that leads nowhere."""
    for page, seen in pages.items():
        for link in sorted(set(seen["links"])):
            path, place = urldefrag(link)
            if not path.startswith(home):
                continue
            target = unquote(path.removeprefix(home)) or "index.html"
            if not (site / target).is_file():
                yield page, f"links to {target}, which is not there"
            elif place and target in pages and unquote(place) not in pages[target]["ids"]:
                yield page, f"links to {target}#{place}, which has no such place"


def search(chrome: webdriver.Chrome, home: str, term: str, wanted: str | None) -> list[str]:
    """Type a term into the first page's search box, and see whether the page it is on is among the results."""
    chrome.get(f"{home}index.html")
    chrome.find_element(By.CSS_SELECTOR, "input[name=q]").send_keys(term, Keys.ENTER)
    summary = WebDriverWait(chrome, 20).until(_summary)
    results = [link.get_attribute("href") for link in chrome.find_elements(By.CSS_SELECTOR, "#search-results ul.search a")]
    problems = console(chrome)
    if home.startswith("file:"):  # the browser does not let a page read others from disk: results come without excerpts
        problems = []
    if wanted is None and results:
        problems.append(f"search finds {term!r}, which is nowhere: {summary}")
    if wanted is not None and not any(result.startswith(home + wanted) for result in results):
        problems.append(f"search for {term!r} does not find {wanted}: {summary}")
    return problems


def _summary(chrome: webdriver.Chrome) -> str | None:
    """The line that says how many pages were found, once the search is over."""
    lines = chrome.find_elements(By.CSS_SELECTOR, "#search-results p.search-summary")
    return lines[0].text if lines and ("matching" in lines[0].text or "did not match" in lines[0].text) else None


def check(site: Path) -> int:
    """Print every problem of the site, and how much was looked at; the number of problems."""
    names = sorted(file.relative_to(site).as_posix() for file in site.rglob("*.html"))
    found: list[str] = []

    def note(where: str, problems: list[str]) -> None:
        for problem in dict.fromkeys(problems):
            print(f"{where}: {problem}", flush=True)
            found.append(problem)

    pages: dict[str, dict] = {}
    with served(site) as home, chromium() as chrome:
        for window in WINDOWS:
            resize(chrome, window)
            for name in names:
                pages[name], problems = look(chrome, home + name, home)
                if name.startswith("notebooks/"):
                    problems += same_as_notebook(name, pages[name])
                note(f"{name} ({window})", problems)
        for page, problem in dead_links(pages, site, home):
            note(page, [problem])
        resize(chrome, "desktop")
        # Opened from disk as well: no server, no network.
        disk = site.resolve().as_uri() + "/"
        for address, where in ((home, "served"), (disk, "from disk")):
            for term, wanted in SEARCHES.items():
                note(f"search, {where}", search(chrome, address, term, wanted))
        chrome.get_log("performance")
        for name in ("index.html", *(name for name in names if name.startswith("notebooks/"))):
            note(f"{name} (from disk)", look(chrome, disk + name, disk)[1])
    images, links = (sum(len(seen[what]) for seen in pages.values()) for what in ("images", "links"))
    formulas = sum(seen["equations"] for seen in pages.values())
    print(f"{len(pages)} pages in {len(WINDOWS)} windows, {images} pictures, {formulas} formulas, {links} links,"
          f" {2 * len(SEARCHES)} searches: {len(found) or 'no'} problems")  # fmt: skip
    return len(found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("site", type=Path, nargs="?", default=ROOT / "build" / "site", help="its folder (build/site)")
    folder = parser.parse_args().site
    if not (folder / "index.html").is_file():
        raise SystemExit(f"{folder} holds no site: make docs")
    sys.exit(1 if check(folder) else 0)
