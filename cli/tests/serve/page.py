"""Drives the page of a server in headless Chromium.

usage: page.py CHROMIUM PICTURES OPEN_URL GUARDED_URL

The servers hold the collections that `page.rs` makes. The second one asks for a token.
"""

import sys
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect, sync_playwright

BROWSER, PICTURES, OPEN, GUARDED = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
HOSTILE = '<img src=x onerror="window.ran=1"><script>window.ran=1</script>'
# Contrast of text is checked in both schemes; the rules are those of WCAG 2.2 AA.
RULES = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


class Watched:
    """A page whose errors, violations of the policy and foreign requests are collected."""

    def __init__(self, browser, url, **context):
        self.url, self.problems = url, []
        self.context = browser.new_context(**context)
        self.page = self.context.new_page()
        self.page.add_init_script(
            "addEventListener('securitypolicyviolation', (e) => console.error('CSP: ' + e.violatedDirective))"
        )
        self.page.on("console", self.console)
        self.page.on("pageerror", lambda error: self.problems.append(f"exception: {error}"))
        self.page.on("request", self.request)
        self.expected = ()

    def console(self, message):
        text = message.text
        if message.type == "error" and not any(known in text for known in self.expected):
            self.problems.append(f"console: {text}")

    def request(self, request):
        if not request.url.startswith(self.url + "/"):
            self.problems.append(f"foreign request: {request.url}")

    def picture(self, name):
        self.page.screenshot(path=PICTURES / f"{name}.png", full_page=True)

    def check(self, name):
        """No value ran as markup, nothing scrolls sideways, the rules of accessibility hold."""
        page = self.page
        assert page.evaluate("window.ran") is None, f"{name}: a value ran as a script"
        assert page.locator("main img, main script").count() == 0, f"{name}: a value became markup"
        width, scrolls = page.evaluate("[innerWidth, document.documentElement.scrollWidth]")
        assert scrolls <= width, f"{name}: {scrolls} px wide in a window of {width}"
        results = Axe().run(page, options=RULES)
        assert results.violations_count == 0, f"{name}: {results.generate_report()}"
        self.picture(name)

    def close(self):
        self.context.close()
        assert not self.problems, "\n".join(self.problems)


def operate(watched, scheme):
    page = watched.page
    page.goto(watched.url + "/")
    row = page.get_by_role("row").filter(has_text="articles")
    expect(row).to_contain_text("60")
    expect(page.get_by_role("row").filter(has_text="hostile")).to_contain_text("segment")
    watched.check(f"collections-{scheme}")

    page.get_by_role("link", name="articles").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("articles")
    found = page.locator("#found")
    expect(found).to_have_text("Records 1 to 25 of 60")
    watched.check(f"collection-{scheme}")
    page.get_by_role("button", name="Next").click()
    expect(found).to_have_text("Records 26 to 50 of 60")

    page.get_by_label("Text in the document").fill("heron")
    page.keyboard.press("Enter")
    expect(found).to_have_text("Records 1 to 1 of those that match")
    expect(page.locator(".records li")).to_contain_text("A heron stands in the reeds.")
    page.get_by_role("button", name="More like article-07").click()
    # The text still filters, so nothing else is like it.
    expect(found).to_have_text("0 nearest to article-07")
    page.get_by_role("button", name="Clear").click()
    expect(found).to_have_text("Records 1 to 25 of 60")
    page.get_by_role("button", name="More like article-07").click()
    expect(found).to_have_text("25 nearest to article-07")
    expect(page.locator(".records li").first).to_contain_text("distance")

    page.get_by_label("Filter").fill('{"year": {"$gte": 2058}}')
    page.keyboard.press("Enter")
    expect(found).to_have_text("Records 1 to 2 of those that match")
    watched.check(f"search-{scheme}")
    page.get_by_label("Filter").fill("{year")
    page.keyboard.press("Enter")
    expect(page.get_by_role("alert").filter(has_text="The filter is not JSON")).to_be_visible()
    page.get_by_role("button", name="Clear").click()


def upkeep(watched):
    page = watched.page
    page.goto(watched.url + "/")
    page.get_by_role("link", name="articles").click()
    said = page.locator("#said")
    page.get_by_role("button", name="Compact now").click()
    expect(said).to_contain_text("Compaction published 1 fold")
    page.get_by_label("Name of a pin").fill("before the sale")
    page.get_by_role("button", name="Pin the current version").click()
    expect(said).to_contain_text("Pin before the sale keeps")
    page.get_by_role("button", name="See what a sweep would delete").click()
    expect(page.get_by_role("table", name="A sweep would delete")).to_be_visible()
    page.get_by_role("button", name="Remove pin before the sale").click()
    page.get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("button", name="Remove pin before the sale")).to_be_visible()
    page.get_by_role("button", name="Remove pin before the sale").click()
    page.locator("#ask-yes").click()
    expect(said).to_contain_text("is removed")
    page.locator("#shards summary").click()
    page.locator("#history summary").click()
    expect(page.get_by_role("table", name="Newest first")).to_contain_text("merge")
    watched.check("upkeep")


def hostile(watched, name):
    page = watched.page
    page.goto(watched.url + "/")
    page.get_by_role("link", name="hostile").click()
    expect(page.locator("#found")).to_have_text("Records 1 to 2 of 2")
    expect(page.locator(".records li").first).to_contain_text(HOSTILE)
    expect(page.get_by_role("button", name=f"Remove pin {HOSTILE}")).to_be_visible()
    page.locator("#moment").select_option(label=f"Pin {HOSTILE}")
    expect(page.locator("#found")).to_have_text("Records 1 to 2 of 2")
    page.get_by_role("button", name=f"More like {HOSTILE}").click()
    expect(page.locator("#found")).to_have_text(f"1 nearest to {HOSTILE}")
    watched.check(f"hostile-{name}")
    page.get_by_role("link", name="Server").click()
    expect(page.get_by_role("heading", name="Recent errors")).to_be_visible()
    expect(page.get_by_role("table", name="Newest first")).to_contain_text("onerror")
    watched.check(f"server-{name}")


def keyboard(watched):
    page = watched.page
    page.goto(watched.url + "/")
    expect(page.get_by_role("link", name="articles")).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="articles")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_have_text("articles")


def token(watched):
    watched.expected = ("401",)
    page = watched.page
    page.goto(watched.url + "/")
    expect(page.get_by_role("heading", level=1)).to_have_text("This server asks for a token")
    page.get_by_label("Token").fill("wrong")
    page.keyboard.press("Enter")
    expect(page.locator("#token-help")).to_contain_text("does not know that token")
    watched.check("token")
    page.get_by_label("Token").fill("looks")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="articles").click()
    expect(page.locator("#found")).to_contain_text("of 60")
    expect(page.get_by_text("The token may only read")).to_be_visible()
    assert page.get_by_role("button", name="Compact now").count() == 0
    assert page.evaluate("localStorage.length") == 0
    assert "looks" not in page.evaluate("document.cookie + location.href")
    page.get_by_role("button", name="Forget token").click()
    expect(page.get_by_label("Token")).to_be_visible()
    assert page.evaluate("sessionStorage.length") == 0


with sync_playwright() as playwright:
    # The tests run as root, where Chromium has no sandbox.
    chromium = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])

    def run(work, *arguments, url=OPEN, **context):
        watched = Watched(chromium, url, **context)
        work(watched, *arguments)
        watched.close()

    wide, narrow = {"width": 1280, "height": 900}, {"width": 400, "height": 800}
    run(operate, "light", viewport=wide, color_scheme="light")
    run(operate, "dark", viewport=wide, color_scheme="dark")
    run(operate, "narrow", viewport=narrow)
    run(hostile, "wide", viewport=wide)
    run(hostile, "narrow", viewport=narrow, color_scheme="dark")
    run(upkeep, viewport=wide)
    run(keyboard, viewport=wide)
    run(token, url=GUARDED, viewport=narrow)
    print(f"Chromium {chromium.version}: the page works")
    chromium.close()
