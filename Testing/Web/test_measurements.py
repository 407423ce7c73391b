"""Measurements in a page: the table and its copy, a comparison with a way to the place, and a report that prints to one page."""

import re

from NeuroSAM2Core import disk
from Testing.Web.test_click_to_mask import draw_box


def test_objects_are_measured_copied_compared_and_reported(visit, browser, tmp_path):
    page = visit.page
    draw_box(visit)
    visit.key("o")
    visit.wait_object("prompts === 0", "object 2")
    visit.take("x", "box")
    visit.drag((0.35, 0.4), (0.5, 0.6))
    visit.wait_object("ml > 0", "object 2")
    visit.wait_quiet()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("button", name="Measurements").click()
    page.wait_for_selector('[data-measured="object 2"]')
    ml = float(page.locator('[data-measured="object 1"] td').nth(2).inner_text())
    assert abs(ml - float(visit.object()["ml"])) < 0.02
    dialog = page.locator("[data-test=measurements]")
    dialog.get_by_role("button", name="Copy").click()
    page.wait_for_function("trame.state.get('measures_copied')")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied.splitlines()[1].startswith("object 1\t")
    dialog.get_by_role("button", name="Compare").click()
    row = page.locator('[data-difference="object 2 and object 1"]')
    place = row.get_by_title("Go there").first
    (index,) = re.findall(r"\d+", place.inner_text())
    dialog.locator("[data-test=write-page]").click()
    with page.expect_download() as download:
        dialog.locator("[data-test=measures-link]").click()
    path = tmp_path / "report.html"
    download.value.save_as(disk.as_utf8(path))
    with browser.new_context(offline=True) as context:
        report = context.new_page()
        asked = []
        report.on("request", lambda request: asked.append(request.url))
        report.set_content(path.read_text(encoding="utf-8"))
        assert report.locator("img").evaluate("one => one.naturalWidth") > 300
        assert "object 2" in report.locator("table").first.inner_text()
        assert [url for url in asked if not url.startswith("data:")] == []
        assert report.pdf(prefer_css_page_size=True).count(b"/Type /Page\n") == 1
    place.click()
    page.wait_for_selector(f"[data-bar=Red][data-index='{index}']")
    dialog.wait_for(state="hidden")
    visit.take("n", "negative")
    visit.click(0.45, 0.5)
    visit.wait_object("prompts === 2", "object 2")
    visit.wait_quiet()
    before = visit.state("measures_rows")[1]
    page.get_by_role("button", name="Measurements").click()
    page.wait_for_function("before => trame.state.get('measures_rows')[1].join() !== before.join()", arg=before)
